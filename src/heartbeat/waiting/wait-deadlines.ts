import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { inTransaction } from '../../database/transaction.js';
import { systemActor } from '../../events/actor.js';
import { runInScope } from '../../events/request-scope.js';
import { EndRuns } from '../ending/end-runs.js';
import { Blockers } from './blockers.js';
import { WaitingReasons } from './waiting-reasons.js';

interface Overdue {
  id: string;
  max_wait_sec: number;
}

const PAGE = 100;

/** Runs of companies c that have waited longer than those let them. */
const OVERDUE = `r.status in ('queued', 'scheduled_retry')
  and r.due_at <= clock_timestamp() - make_interval(secs => c.max_wait_sec)`;

/** Fails what has waited longer than its company wants anything to wait. */
@Injectable()
export class WaitDeadlines {
  constructor(
    private readonly em: EntityManager,
    private readonly endRuns: EndRuns,
    private readonly reasons: WaitingReasons,
    private readonly blockers: Blockers,
  ) {}

  /**
   * One page of them, the longest waiting first.
   * @returns how many were failed; what somebody else holds is left to the next look.
   */
  async enforce(): Promise<number> {
    const overdue = await this.em.execute<Overdue[]>(
      `select r.id from companies c
       cross join lateral (select r.id, r.due_at from heartbeat_runs r where r.company_id = c.id and ${OVERDUE}
         order by r.due_at limit ${PAGE}) r
       where c.max_wait_sec is not null order by r.due_at limit ${PAGE}`,
    );
    if (overdue.length === 0) return 0;
    const ids = overdue.map(({ id }) => id);
    const waited = await this.blockers.explain([...(await this.reasons.of(ids)).values()]);
    return runInScope({ actor: systemActor('wait-deadline'), requestId: null }, () =>
      inTransaction(this.em, async () => {
        const rows = await this.lock((await this.endRuns.tryLockOwnersOf(ids)).runIds);
        await this.endRuns.endWaiting(
          rows.map(({ id, max_wait_sec: limit }) => ({
            runId: id,
            status: 'failed',
            code: 'wait_timed_out',
            message:
              `It waited longer than ${limit} seconds, the company's limit. ${waited.get(id)?.message ?? ''}`.trim(),
          })),
        );
        return rows.length;
      }),
    );
  }

  /** Looks again: what has started, or may wait longer by now, is left alone. */
  private lock(ids: string[]): Promise<Overdue[]> {
    return this.em.execute<Overdue[]>(
      `select r.id, c.max_wait_sec from heartbeat_runs r join companies c on c.id = r.company_id
       where r.id = any(?::uuid[]) and ${OVERDUE} order by r.id for no key update of r skip locked`,
      [`{${ids.join(',')}}`],
    );
  }
}
