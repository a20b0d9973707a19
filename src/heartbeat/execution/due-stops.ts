import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { bootClock } from '../../environments/drivers/guard/boot-clock.js';
import { RunnerIdentity } from '../runs/runner-identity.js';
import { RunningRuns, type StopReason } from './running-runs.js';

/** Each run is looked at this often at least, in milliseconds, whatever its limits: the database's clock may be set. */
const LONGEST_MS = 15_000;
/** A look at all runs is followed by as many times what it took without another one… */
const REST = 50;
/** …but not by more than this, in milliseconds: it may have waited for the database. */
const LONGEST_REST_MS = 10_000;

interface Seen {
  id: string;
  reason: StopReason | null;
  /** Until the first of its limits, in milliseconds. */
  left_ms: number;
}

/**
 * Stops runs of this process that somebody wants to end, that are past a limit, or that somebody else has ended. Wishes
 * and limits live in the database, and its clock decides: from a look at a run is known before when none of its limits
 * can be reached, and until then nothing is read of it but a wish.
 */
@Injectable()
export class DueStops {
  /** When each run has to be looked at, in milliseconds of the boot clock. */
  private nextLooks = new Map<string, number>();
  private allDue = false;
  private restsUntil = 0;

  constructor(
    private readonly em: EntityManager,
    private readonly running: RunningRuns,
    private readonly identity: RunnerIdentity,
  ) {}

  /** Any run may have been ended by somebody else: its lease would be missed only at its next renewal. */
  expectEnds(): void {
    this.allDue = true;
  }

  async stop(): Promise<void> {
    const runs = this.running.all();
    if (runs.length === 0) return;
    const startedAt = bootClock();
    const lookAtAll = this.allDue && startedAt >= this.restsUntil;
    if (lookAtAll) this.allDue = false;
    const due = runs.filter(({ id }) => lookAtAll || (this.nextLooks.get(id) ?? 0) <= startedAt);
    const seen = await this.look(due.map(({ id }) => id)).catch((error: unknown) => {
      this.allDue ||= lookAtAll;
      throw error;
    });
    for (const { id, left_ms: leftMs } of seen) this.nextLooks.set(id, nextLook(startedAt, leftMs));
    this.forgetWhatHasEnded();
    for (const { id, reason } of seen) if (reason) this.running.stop(id, reason);
    if (lookAtAll) this.restsUntil = bootClock() + Math.min(REST * (bootClock() - startedAt), LONGEST_REST_MS);
  }

  private forgetWhatHasEnded(): void {
    const running = this.running.all();
    if (this.nextLooks.size <= running.length * 2) return;
    this.nextLooks = new Map(running.map(({ id }) => [id, this.nextLooks.get(id) ?? 0]));
  }

  /**
   * A run whose lease comes to the end of its lifetime is stopped while that lease can still be counted on for its end.
   * @returns the given runs, and those that somebody wants to end.
   */
  private look(ids: string[]): Promise<Seen[]> {
    return this.em.execute<Seen[]>(
      `with clock as materialized (select clock_timestamp() as at),
       looked_at as (
         select unnest(?::uuid[]) as id
         union
         select id from heartbeat_runs where runner_id = ? and status = 'running' and cancel_at is not null)
       select id, case when status <> 'running' then 'lease_lost' when cancel_at <= at then 'cancelled'
           when deadline_at <= at then 'timed_out' when idle_at <= at then 'idle_timed_out'
           when lifetime_at <= at then 'lease_lifetime' end as reason,
         1000 * extract(epoch from least(deadline_at, idle_at, lifetime_at) - at)::float8 as left_ms
       from clock, looked_at join (
         select r.id, r.status, r.cancel_at, r.deadline_at, l.lifetime_ends_at - make_interval(secs => l.ttl_sec) as lifetime_at,
           greatest(r.started_at, r.last_output_at) + make_interval(secs => r.idle_timeout_sec) as idle_at
         from heartbeat_runs r join environment_leases l on l.id = r.lease_id) r using (id)`,
      [`{${ids.join(',')}}`, this.identity.id],
    );
  }
}

const nextLook = (now: number, leftMs: number) => now + Math.min(Math.max(leftMs, 0), LONGEST_MS);
