import { setTimeout as delay } from 'node:timers/promises';
import { jest } from '@jest/globals';
import type { AdapterResult } from '../../src/heartbeat/adapters/adapter.port.js';
import { AdapterRegistry } from '../../src/heartbeat/adapters/adapter-registry.js';
import type { TestApp } from './test-app.js';

const SUCCEEDED: AdapterResult = {
  outcome: 'succeeded',
  exitCode: 0,
  signal: null,
  error: null,
  errorCode: null,
  resultJson: null,
  usageJson: null,
};
const FAILED: AdapterResult = {
  ...SUCCEEDED,
  outcome: 'failed',
  exitCode: 1,
  error: 'no',
  errorCode: 'adapter_failed',
};

/** Stands in for the process adapter of applications: a run lasts until the test ends it, or somebody stops it. */
export class HeldAdapter {
  /** The runs that were executed, in order. */
  readonly executed: string[] = [];
  private readonly ends = new Map<string, PromiseWithResolvers<AdapterResult>>();
  private lastingMs: number | null = null;

  constructor(...apps: TestApp[]) {
    for (const app of apps) {
      jest.spyOn(app.get(AdapterRegistry).get('process'), 'execute').mockImplementation(async ({ runId, signal }) => {
        this.executed.push(runId);
        if (this.lastingMs !== null) return delay(this.lastingMs, SUCCEEDED);
        signal.addEventListener('abort', () => this.fail(runId));
        return this.endOf(runId).promise;
      });
    }
  }

  succeed(runId: string): void {
    this.endOf(runId).resolve(SUCCEEDED);
  }

  fail(runId: string): void {
    this.endOf(runId).resolve(FAILED);
  }

  /** Lets every run succeed, those that come too: after this time. */
  letGo(lastingMs = 0): void {
    this.lastingMs = lastingMs;
    for (const end of this.ends.values()) end.resolve(SUCCEEDED);
  }

  private endOf(runId: string): PromiseWithResolvers<AdapterResult> {
    const end = this.ends.get(runId) ?? Promise.withResolvers<AdapterResult>();
    this.ends.set(runId, end);
    return end;
  }
}
