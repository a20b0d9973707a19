import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger, type BeforeApplicationShutdown } from '@nestjs/common';
import { DatabaseNotifications } from '../../database/notifications.js';
import { Quarantine } from '../../database/restore/quarantine.js';
import { ReapLeases } from './reap-leases.js';

/** Between two passes, in milliseconds: what a dead runner held is free again this soon after it ran out. */
const PERIOD_MS = 1000;
/** Where very many leases are active, a pass that found nothing is followed by as many times what it took without one… */
const REST = 50;
/** …but not by more than this, in milliseconds: it may have waited for the database. */
const LONGEST_REST_MS = 10_000;
/** A pass that took this long, in milliseconds, spares the other processes theirs. */
const COSTLY_MS = 5;
/** Channel on which processes tell each other that they have looked for leases that are over. */
const REAPED_CHANNEL = 'berth_reaped';

/** Reaps expired leases in every process, whatever its roles, from application start to its end; not in quarantine. */
@Injectable()
export class Reaper implements BeforeApplicationShutdown {
  private readonly logger = new Logger(Reaper.name);
  private readonly stopped = new AbortController();
  private loop: Promise<void> = Promise.resolve();
  private restMs = PERIOD_MS;
  private sparedUntil = 0;

  constructor(
    private readonly leases: ReapLeases,
    private readonly quarantine: Quarantine,
    private readonly notifications: DatabaseNotifications,
  ) {}

  /** Begins in the background; called once everything listens. */
  start(): void {
    this.notifications.listen(REAPED_CHANNEL, (byThisProcess) => {
      if (!byThisProcess) this.sparedUntil = performance.now() + this.restMs;
    });
    this.loop = this.reapUntilStopped();
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.stopped.abort();
    await this.loop;
  }

  private async reapUntilStopped(): Promise<void> {
    const { signal } = this.stopped;
    while (!signal.aborted) {
      if (performance.now() >= this.sparedUntil) await this.pass();
      await delay(this.restMs, undefined, { signal }).catch(() => undefined);
    }
  }

  private async pass(): Promise<void> {
    this.restMs = PERIOD_MS;
    try {
      if (await this.quarantine.isActive()) return;
      const startedAt = performance.now();
      const ended = await this.leases.reap();
      if (ended > 0) return this.logger.warn({ ended }, 'Ended leases that had run out');
      const tookMs = performance.now() - startedAt;
      this.restMs = Math.min(Math.max(PERIOD_MS, REST * tookMs), LONGEST_REST_MS);
      if (tookMs >= COSTLY_MS) this.notifications.notify(REAPED_CHANNEL);
    } catch (error) {
      this.logger.warn({ err: error }, 'Expired leases could not be looked for; trying again');
    }
  }
}
