import { Injectable, Logger } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { isConnectionLost } from '../../database/database-errors.js';
import { inTransaction } from '../../database/transaction.js';
import { systemActor } from '../../events/actor.js';
import { runInScope } from '../../events/request-scope.js';
import { EndLeases, type LeaseEnd } from '../../leases/end-leases.js';
import { Metrics } from '../../metrics/metrics.js';
import { EndRuns } from './end-runs.js';
import type { HeldAgents } from './held-agents.js';
import { failedOutcome, type RunOutcome } from '../runs/run-outcome.js';
import { runnerName } from '../runs/runner-identity.js';
import type { RunEnd } from './terminal-transitions.js';

interface Due {
  id: string;
  company_id: string;
  /** By which lease its run is held; null for a reservation. */
  run_lease_id: string | null;
  heartbeat_run_id: string | null;
  runner_id: string | null;
  host: string | null;
}

/** One that is held for ending. */
interface Over extends Due {
  /** Not renewed any more because it had reached the end of its lifetime. */
  had_its_time: boolean;
  is_revoked: boolean;
  revoke_reason: string | null;
  /** For how long it has been due, in seconds. */
  overdue_sec: number;
}

/** Small, because a page holds the agents and issues of its runs, and keeps the process from answering while it is written. */
const PAGE = 25;
const NIL = '00000000-0000-0000-0000-000000000000';
const BEFORE_ALL = { company_id: NIL, id: NIL };
const COLUMNS = 'id, company_id, run_lease_id, heartbeat_run_id, runner_id, host';

/** Ends leases that nobody ends any more: what a dead runner left, and reservations that ran out or were revoked. */
@Injectable()
export class ReapLeases {
  private readonly logger = new Logger(ReapLeases.name);

  constructor(
    private readonly em: EntityManager,
    private readonly leases: EndLeases,
    private readonly runs: EndRuns,
    private readonly metrics: Metrics,
  ) {}

  /**
   * Ends every lease that is due by now, in pages; a run with its lease. One that cannot be ended, or that somebody else
   * holds, does not keep the others from it: it is left to the next pass.
   * @returns how many were ended.
   */
  async reap(): Promise<number> {
    return runInScope({ actor: systemActor('reaper'), requestId: null }, async () => {
      let ended = 0;
      for (let page = await this.due(BEFORE_ALL); page.length > 0; page = await this.due(page[page.length - 1])) {
        ended += await this.endPage(page);
      }
      return ended;
    });
  }

  /**
   * Looks at the active leases one by one, company by company, the oldest first: an index that knew when they expire
   * would be written at each renewal, which costs more. In the order of an index of its own, which forgets what has ended
   * as it is read.
   */
  private due(after: Pick<Due, 'company_id' | 'id'>): Promise<Due[]> {
    return this.em.execute<Due[]>(
      `select ${COLUMNS} from environment_leases
       where status = 'active' and (expires_at <= clock_timestamp() or revoke_at <= clock_timestamp())
         and (company_id, id) > (?::uuid, ?::uuid)
       order by company_id, id limit ?`,
      [after.company_id, after.id, PAGE],
    );
  }

  /** @returns how many of the leases were ended. */
  private async endPage(page: Due[]): Promise<number> {
    try {
      return await this.end(page);
    } catch (error) {
      if (isConnectionLost(error)) throw error;
      if (page.length === 1) {
        this.logger.error({ err: error, leaseId: page[0].id }, 'A lease that is over could not be ended');
        return 0;
      }
      let ended = 0;
      for (const one of page) ended += await this.endPage([one]);
      return ended;
    }
  }

  private async end(page: Due[]): Promise<number> {
    const lockedAt = performance.now();
    const over = await inTransaction(this.em, async () => {
      const { held, agents } = await this.lock(page);
      await this.leases.end(held.filter((lease) => !holdsRun(lease)).map(leaseEnd));
      await this.runs.endRunning(held.filter(holdsRun).map(runEnd), agents);
      return held;
    });
    const tookSec = (performance.now() - lockedAt) / 1000;
    for (const lease of over) this.metrics.reapLag.observe(lease.overdue_sec + tookSec);
    return over.length;
  }

  /**
   * Locks in the house order (agent, issue, run, lease) and looks again: what was renewed or ended meanwhile is left
   * alone, and so is what somebody else holds.
   */
  private async lock(page: Due[]): Promise<{ held: Over[]; agents: HeldAgents }> {
    const { runIds, agents } = await this.runs.tryLockOwnersOf(
      page.flatMap((lease) => (holdsRun(lease) ? lease.heartbeat_run_id : [])),
    );
    const runs = await this.em.execute<{ id: string }[]>(
      `select id from heartbeat_runs where id = any(?::uuid[]) order by id for no key update skip locked`,
      [`{${runIds.join(',')}}`],
    );
    const mine = new Set(runs.map(({ id }) => id));
    const ids = page.filter((one) => !holdsRun(one) || mine.has(one.heartbeat_run_id)).map(({ id }) => id);
    const held = await this.em.execute<Over[]>(
      `with clock as materialized (select clock_timestamp() as at)
       select ${COLUMNS}, expires_at >= lifetime_ends_at as had_its_time, revoke_reason,
         coalesce(revoke_at <= clock.at, false) as is_revoked,
         extract(epoch from clock.at - least(expires_at, revoke_at))::float8 as overdue_sec
       from environment_leases, clock
       where id = any(?::uuid[]) and status = 'active' and (expires_at <= clock.at or revoke_at <= clock.at)
       order by id for no key update of environment_leases skip locked`,
      [`{${ids.join(',')}}`],
    );
    return { held, agents };
  }
}

/** A run ends with its first lease; a further one, like a reservation, ends alone. */
const holdsRun = <L extends Due>(lease: L): lease is L & { heartbeat_run_id: string } =>
  lease.run_lease_id === lease.id;

function leaseEnd({ id, is_revoked, revoke_reason, had_its_time }: Over): LeaseEnd {
  const how = { id, run: null, succeeded: false };
  if (is_revoked) return { ...how, status: 'released', reason: revoke_reason };
  return {
    ...how,
    status: 'expired',
    reason: had_its_time ? 'reached the end of its lifetime' : 'not renewed in time',
  };
}

function runEnd(lease: Over & { heartbeat_run_id: string }): RunEnd {
  const outcome = lease.had_its_time ? HAD_ITS_TIME : failedOutcome('process_lost', lostBy(lease));
  return { runId: lease.heartbeat_run_id, leaseId: lease.id, fencingToken: null, outcome };
}

const HAD_ITS_TIME: RunOutcome = {
  ...failedOutcome('lease_lifetime', 'The lease reached the end of its lifetime, past which nothing is renewed'),
  status: 'timed_out',
};

const lostBy = ({ runner_id: id, host }: Due) =>
  `The ${runnerName(id, host)} stopped renewing the lease: it was killed, is frozen, or cannot reach the database`;
