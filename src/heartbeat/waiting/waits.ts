import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger, type BeforeApplicationShutdown } from '@nestjs/common';
import { Quarantine } from '../../database/restore/quarantine.js';
import { WaitDeadlines } from './wait-deadlines.js';
import { WaitingReasons, type LookedThrough } from './waiting-reasons.js';

const PERIOD_MS = 1000;

/** Once a second, from application start to its end: notes what runs wait for, and ends what has waited too long. */
@Injectable()
export class Waits implements BeforeApplicationShutdown {
  private readonly logger = new Logger(Waits.name);
  private readonly stopped = new AbortController();
  private loop: Promise<void> = Promise.resolve();
  private lookedThrough: LookedThrough | null = null;

  constructor(
    private readonly reasons: WaitingReasons,
    private readonly deadlines: WaitDeadlines,
    private readonly quarantine: Quarantine,
  ) {}

  /** Begins in the background; called once everything listens. */
  start(): void {
    this.loop = this.lookUntilStopped();
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.stopped.abort();
    await this.loop;
  }

  /** One page of reasons, and all deadlines that have passed. */
  async look(): Promise<void> {
    this.lookedThrough = await this.reasons.refresh(this.lookedThrough);
    // Since a backup was put back, everything has waited long.
    if (await this.quarantine.isActive()) return;
    while ((await this.deadlines.enforce()) > 0 && !this.stopped.signal.aborted);
  }

  private async lookUntilStopped(): Promise<void> {
    const { signal } = this.stopped;
    while (!signal.aborted) {
      await this.look().catch((error: unknown) => {
        this.logger.warn({ err: error }, 'Waiting runs could not be looked at; trying again');
      });
      await delay(PERIOD_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}
