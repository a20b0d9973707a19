import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Deployment } from './deployment.js';
import type { SeededRandom } from './seeded-random.js';

/** How long an answer is waited for, in milliseconds: past that nobody knows what became of the request. */
const PATIENCE_MS = 8_000;
/** Between two tries, in milliseconds. */
const PAUSE_MS = 100;

export interface Answered {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

/** Somebody outside who speaks to whichever server answers. */
export class Caller {
  constructor(
    private readonly deployment: Deployment,
    private readonly random: SeededRandom,
  ) {}

  /** @returns null when nobody knows what became of it: no answer, or that something went wrong. */
  async send(method: string, path: string, body?: object, key?: string): Promise<Answered | null> {
    const api = this.random.pick(this.deployment.apis);
    if (api.url === '') return null;
    try {
      const response = await fetch(`${api.url}/api${path}`, {
        method,
        headers: {
          ...(body ? { 'content-type': 'application/json' } : {}),
          ...(key ? { 'idempotency-key': key } : {}),
        },
        ...(body ? { body: JSON.stringify(body) } : {}),
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      const answered = { status: response.status, body: (await response.json()) as Record<string, unknown> };
      return response.status >= 500 ? null : answered;
    } catch {
      return null;
    }
  }

  /** Sends it under one key until somebody answers what became of it. @throws when nobody does until the time is over. */
  async insist(method: string, path: string, body: object, key: string, signal: AbortSignal): Promise<Answered> {
    for (;;) {
      const answered = await this.send(method, path, body, key);
      if (answered) return answered;
      signal.throwIfAborted();
      await delay(PAUSE_MS);
    }
  }

  /** The same for something that has to be made before anything else can be done. */
  async created(path: string, body: object): Promise<string> {
    // Not by the seed: several runs on one deployment have the same one.
    const { status, body: made } = await this.insist('POST', path, body, randomUUID(), AbortSignal.timeout(30_000));
    if (status !== 201) throw new Error(`${path} was answered ${status}: ${JSON.stringify(made)}`);
    return made.id as string;
  }
}
