import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { assertCompanyAccess, assertOperator } from '../auth/access.js';
import { NotFoundError } from '../errors/domain-error.js';
import { inTransaction } from '../database/transaction.js';
import { DomainEvents } from '../events/domain-events.js';
import { EndRuns } from './end-runs.js';
import type { RunStatus } from './heartbeat-run.entity.js';
import { HeartbeatCancelRequested } from './heartbeat.events.js';

/** Ends runs that somebody does not want any more. */
@Injectable()
export class CancelService {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly endRuns: EndRuns,
  ) {}

  /**
   * Cancels a waiting run at once; for a running one records the wish, and whoever ends the run writes `cancelled`. A
   * run that has ended stays what it is.
   * @throws NotFoundError
   */
  async cancel(runId: string, reason: string): Promise<void> {
    await inTransaction(this.em, async () => {
      const [run] = await this.em.execute<{ company_id: string }[]>(
        `select company_id from heartbeat_runs where id = ?`,
        [runId],
      );
      if (!run) throw new NotFoundError('Run');
      assertCompanyAccess(run.company_id, 'Run');
      assertOperator();
      await this.endRuns.lockIssuesOf([runId]);
      await this.cancelLocked(runId, reason);
    });
  }

  private async cancelLocked(runId: string, reason: string): Promise<void> {
    const [run] = await this.em.execute<
      { status: RunStatus; company_id: string; agent_id: string; cancel_requested_at: string | null }[]
    >(`select status, company_id, agent_id, cancel_requested_at from heartbeat_runs where id = ? for no key update`, [
      runId,
    ]);
    if (run?.status === 'queued' || run?.status === 'scheduled_retry') {
      await this.endRuns.cancelWaiting([runId], reason);
    } else if (run?.status === 'running' && !run.cancel_requested_at) {
      await this.em.execute(
        `update heartbeat_runs set cancel_requested_at = clock_timestamp(), cancel_reason = ?, updated_at = now()
         where id = ?`,
        [reason, runId],
      );
      const ref = { id: runId, companyId: run.company_id, agentId: run.agent_id };
      await this.events.record(new HeartbeatCancelRequested(ref, { reason }));
    }
  }
}
