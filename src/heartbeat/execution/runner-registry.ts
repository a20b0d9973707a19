import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { BerthConfig } from '../../config/config.js';
import { VERSION } from '../../config/version.js';
import { RunnerIdentity } from '../runs/runner-identity.js';
import { Nudge } from './nudge.js';

/** How often a runner says that it is there, in milliseconds: several times before it would count as lost. */
const PERIOD_MS = 3000;
/** How long the end of a process waits for the database to take it down, in milliseconds. */
const LAST_WORD_MS = 1000;
/** How often what is long over is looked for, in milliseconds. */
const FORGET_PERIOD_MS = 3_600_000;
const FORGET_AFTER_DAYS = 30;

/**
 * Keeps this process's row in `runners`. It is there to be looked at: who may execute what is decided by leases alone,
 * so that a runner whose row is wrong or missing does no harm.
 */
@Injectable()
export class RunnerRegistry {
  private readonly logger = new Logger(RunnerRegistry.name);
  private readonly changes = new Nudge();
  private readonly registered = Promise.withResolvers<void>();
  private state: 'live' | 'draining' | 'stopped' = 'live';
  private loop: Promise<void> = Promise.resolve();

  constructor(
    private readonly em: EntityManager,
    private readonly identity: RunnerIdentity,
    private readonly config: BerthConfig,
  ) {}

  /** Registers this runner, and says from then on that it is there. Resolves when it is registered, or is to stop. */
  start(): Promise<void> {
    this.loop = this.keep();
    return this.registered.promise;
  }

  /** The process was asked to stop: it claims nothing new. */
  drain(): void {
    this.state = 'draining';
    this.changes.all();
  }

  /** The process executes nothing any more. A database that cannot be reached does not hold its end up. */
  async stop(): Promise<void> {
    this.state = 'stopped';
    this.changes.all();
    await Promise.race([this.loop, delay(LAST_WORD_MS, undefined, { ref: false })]);
  }

  private async keep(): Promise<void> {
    let forgetAt = 0;
    for (let said: string | null = null; said !== 'stopped';) {
      const seen = this.changes.count;
      const { state } = this;
      const saidNow = await this.say(state);
      if (saidNow || state !== 'live') this.registered.resolve();
      // Whoever is about to end has no time to try again.
      if (saidNow || state === 'stopped') said = state;
      if (saidNow && performance.now() >= forgetAt) {
        await this.forget();
        forgetAt = performance.now() + FORGET_PERIOD_MS;
      }
      if (said !== 'stopped') await this.changes.since(seen, PERIOD_MS);
    }
  }

  /** @returns whether the database has taken it down. */
  private async say(state: 'live' | 'draining' | 'stopped'): Promise<boolean> {
    const { id, host, hostName } = this.identity;
    try {
      await this.em.execute(
        `insert into runners as r (id, host, host_name, pid, slots, version, draining_since, stopped_at)
         values (?, ?, ?, ?, ?, ?, case when ? then clock_timestamp() end, case when ? then clock_timestamp() end)
         on conflict (id) do update set last_seen_at = clock_timestamp(), stopped_at = excluded.stopped_at,
           draining_since = coalesce(r.draining_since, excluded.draining_since)`,
        [id, host, hostName, process.pid, this.config.runnerSlots, VERSION, state !== 'live', state === 'stopped'],
      );
      return true;
    } catch (error) {
      this.logger.warn({ err: error }, 'This runner could not be registered; trying again');
      return false;
    }
  }

  /** Removes what ended long ago, except for what an active lease still names as its holder. */
  private async forget(): Promise<void> {
    try {
      await this.em.execute(
        `delete from runners r where r.last_seen_at < clock_timestamp() - make_interval(days => ?)
           and not exists (select from environment_leases l where l.runner_id = r.id::text and l.status = 'active')`,
        [FORGET_AFTER_DAYS],
      );
    } catch (error) {
      this.logger.warn({ err: error }, 'Runners of long ago could not be removed; trying again');
    }
  }
}
