import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger, type BeforeApplicationShutdown } from '@nestjs/common';
import { BerthConfig } from '../config/config.js';
import { isConnectionLost } from '../database/database-errors.js';
import { Quarantine } from '../database/restore/quarantine.js';
import { systemActor } from '../events/actor.js';
import { runInScope } from '../events/request-scope.js';
import { CarryOut } from './carry-out.js';
import { DueRemovals } from './due-removals.js';
import { OldestDue } from './oldest-due.js';
import { Passes } from './passes.js';
import type { Removal } from './removals.js';
import type { RetentionKind } from './retention-kind.js';
import { SweepLock } from './sweep-lock.js';

/** Between two looks at whether something is due, in milliseconds: mostly one short statement. */
const PERIOD_MS = 60_000;
const STOPPED = 'It was stopped before everything was removed';

/** Removes what has been kept for long enough, in one process at a time, from application start to its end. */
@Injectable()
export class RetentionSweeper implements BeforeApplicationShutdown {
  private readonly logger = new Logger(RetentionSweeper.name);
  private readonly stopped = new AbortController();
  private loop: Promise<void> = Promise.resolve();

  constructor(
    private readonly config: BerthConfig,
    private readonly removals: DueRemovals,
    private readonly oldest: OldestDue,
    private readonly removing: CarryOut,
    private readonly passes: Passes,
    private readonly quarantine: Quarantine,
  ) {}

  /** Begins in the background; called once everything listens. */
  start(): void {
    this.loop = this.sweepUntilStopped();
  }

  /** A page that is under way is finished: a fraction of a second. */
  async beforeApplicationShutdown(): Promise<void> {
    this.stopped.abort(new Error(STOPPED));
    await this.loop;
  }

  /**
   * One pass: removes everything that is due now, unless another process is at it or the database is in quarantine.
   * @param stopped ends it between two pages.
   * @throws when the database cannot be reached.
   */
  sweep(stopped?: AbortSignal): Promise<void> {
    return runInScope({ actor: systemActor('retention'), requestId: null }, async () => {
      if (await this.quarantine.isActive()) return;
      await this.oldest.observe();
      if ((await this.removals.list()).size === 0) return;
      const lock = await SweepLock.take(this.config.databaseUrl!);
      if (!lock) return;
      try {
        const stop = AbortSignal.any([lock.lost, ...(stopped ? [stopped] : [])]);
        // Another process may have removed it since.
        for (const [kind, removals] of await this.removals.list()) await this.pass(kind, removals, stop);
        await this.oldest.observe();
      } finally {
        await lock.release().catch(() => undefined);
      }
    });
  }

  private async pass(kind: RetentionKind, removals: Removal[], stop: AbortSignal): Promise<void> {
    let removed = 0;
    let wrong: string | null = null;
    await this.passes.begin(kind);
    for (const removal of removals) {
      if (stop.aborted) break;
      try {
        const outcome = await this.removing.carryOut(removal, stop);
        removed += outcome.removed;
        if (outcome.stuck.size > 0) wrong = `${outcome.stuck.size} rows of company ${removal.companyId} could not go`;
      } catch (error) {
        if (isConnectionLost(error)) throw error;
        wrong = messageOf(error);
        if (!stop.aborted) this.logger.error({ err: error, ...removal }, 'What was kept for long enough stays');
      }
    }
    if (removed > 0) this.logger.log({ kind, removed }, 'Removed what had been kept for long enough');
    await this.passes.end(kind, removed, stop.aborted ? messageOf(stop.reason) : wrong);
  }

  private async sweepUntilStopped(): Promise<void> {
    const { signal } = this.stopped;
    while (!signal.aborted) {
      await this.sweep(signal).catch((error: unknown) => {
        this.logger.warn({ err: error }, 'What was kept for long enough could not be removed; trying again');
      });
      await delay(PERIOD_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
