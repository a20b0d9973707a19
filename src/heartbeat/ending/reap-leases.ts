import { Injectable, Logger } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { isConnectionLost } from '../../database/database-errors.js';
import { inTransaction } from '../../database/transaction.js';
import { systemActor } from '../../events/actor.js';
import { runInScope } from '../../events/request-scope.js';
import { EndLeases } from '../../leases/end-leases.js';
import { EndRuns } from './end-runs.js';
import { failedOutcome } from '../runs/run-outcome.js';
import { runnerName } from '../runs/runner-identity.js';

interface Expired {
  id: string;
  heartbeat_run_id: string | null;
  runner_id: string | null;
  host: string | null;
}

const PAGE = 100;

/** Ends what a dead runner left: lease, run and wakeup together, in pages. */
@Injectable()
export class ReapLeases {
  private readonly logger = new Logger(ReapLeases.name);

  constructor(
    private readonly em: EntityManager,
    private readonly leases: EndLeases,
    private readonly runs: EndRuns,
  ) {}

  /**
   * Ends every lease that has run out by now. One that cannot be ended does not keep the others from it.
   * @returns how many were ended.
   */
  async reap(): Promise<number> {
    return runInScope({ actor: systemActor('reaper'), requestId: null }, async () => {
      const passedOver: string[] = [];
      for (let count = 0; ;) {
        const page = await this.expired(passedOver);
        if (page.length === 0) return count;
        const ended = await this.endPage(page);
        count += ended.length;
        passedOver.push(...page.map(({ id }) => id).filter((id) => !ended.includes(id)));
      }
    });
  }

  private expired(passedOver: string[]): Promise<Expired[]> {
    return this.em.execute<Expired[]>(
      `select id, heartbeat_run_id, runner_id, host from environment_leases
       where status = 'active' and expires_at <= clock_timestamp() and id <> all(?::uuid[])
       order by expires_at limit ?`,
      [`{${passedOver.join(',')}}`, PAGE],
    );
  }

  /** @returns the ids of the leases that were ended. */
  private async endPage(page: Expired[]): Promise<string[]> {
    try {
      return await this.end(page);
    } catch (error) {
      if (isConnectionLost(error)) throw error;
      if (page.length === 1) {
        this.logger.error({ err: error, leaseId: page[0].id }, 'An expired lease could not be ended');
        return [];
      }
      const ended: string[] = [];
      for (const one of page) ended.push(...(await this.endPage([one])));
      return ended;
    }
  }

  /**
   * Locks in the house order (agent, issue, run, lease) and looks again: what was renewed or ended meanwhile is left
   * alone, and what somebody else holds is left to the next pass.
   */
  private end(page: Expired[]): Promise<string[]> {
    return inTransaction(this.em, async () => {
      const over = await this.lock(page);
      const ofRuns = over.filter((lease) => lease.heartbeat_run_id);
      await this.leases.end(
        over
          .filter((lease) => !lease.heartbeat_run_id)
          .map(({ id }) => ({ id, status: 'expired', reason: 'not renewed in time', agentId: null, succeeded: false })),
      );
      await this.runs.endRunning(
        ofRuns.map((lease) => ({
          runId: lease.heartbeat_run_id!,
          leaseId: lease.id,
          fencingToken: null,
          outcome: failedOutcome('process_lost', lostBy(lease)),
        })),
      );
      return over.map(({ id }) => id);
    });
  }

  private async lock(page: Expired[]): Promise<Expired[]> {
    const runIds = await this.runs.tryLockOwnersOf(page.flatMap(({ heartbeat_run_id: id }) => (id ? [id] : [])));
    const held = await this.em.execute<{ id: string }[]>(
      `select id from heartbeat_runs where id = any(?::uuid[]) order by id for no key update skip locked`,
      [`{${runIds.join(',')}}`],
    );
    const mine = new Set(held.map(({ id }) => id));
    const ids = page.filter((one) => !one.heartbeat_run_id || mine.has(one.heartbeat_run_id)).map(({ id }) => id);
    return this.em.execute<Expired[]>(
      `select id, heartbeat_run_id, runner_id, host from environment_leases
       where id = any(?::uuid[]) and status = 'active' and expires_at <= clock_timestamp()
       order by id for no key update skip locked`,
      [`{${ids.join(',')}}`],
    );
  }
}

const lostBy = ({ runner_id: id, host }: Expired) =>
  `The ${runnerName(id, host)} stopped renewing the lease: it was killed, is frozen, or cannot reach the database`;
