import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger, type BeforeApplicationShutdown } from '@nestjs/common';
import { Quarantine } from '../../database/restore/quarantine.js';
import { ReapLeases } from './reap-leases.js';

/** Between two passes, in milliseconds: what a dead runner held is free again this soon after it ran out. */
const PERIOD_MS = 1000;
/** Where very many leases are active, a pass that found nothing is followed by as many times what it took without one… */
const REST = 50;
/** …but not by more than this, in milliseconds: it may have waited for the database. */
const LONGEST_REST_MS = 10_000;

/** Reaps expired leases in every process, whatever its roles, from application start to its end; not in quarantine. */
@Injectable()
export class Reaper implements BeforeApplicationShutdown {
  private readonly logger = new Logger(Reaper.name);
  private readonly stopped = new AbortController();
  private loop: Promise<void> = Promise.resolve();

  constructor(
    private readonly leases: ReapLeases,
    private readonly quarantine: Quarantine,
  ) {}

  /** Begins in the background; called once everything listens. */
  start(): void {
    this.loop = this.reapUntilStopped();
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.stopped.abort();
    await this.loop;
  }

  private async reapUntilStopped(): Promise<void> {
    const { signal } = this.stopped;
    while (!signal.aborted) {
      const startedAt = performance.now();
      let restMs = PERIOD_MS;
      try {
        const ended = (await this.quarantine.isActive()) ? 0 : await this.leases.reap();
        if (ended === 0) restMs = restAfter(performance.now() - startedAt);
        if (ended > 0) this.logger.warn({ ended }, 'Ended leases that had run out');
      } catch (error) {
        this.logger.warn({ err: error }, 'Expired leases could not be looked for; trying again');
      }
      await delay(restMs, undefined, { signal }).catch(() => undefined);
    }
  }
}

const restAfter = (tookMs: number) => Math.min(Math.max(PERIOD_MS, REST * tookMs), LONGEST_REST_MS);
