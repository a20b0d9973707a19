import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { assertCompanyAccess } from '../../auth/access.js';
import { NotFoundError } from '../../errors/domain-error.js';
import { inTransaction } from '../../database/transaction.js';
import { EndRuns } from './end-runs.js';
import type { RunStatus } from '../runs/heartbeat-run.entity.js';
import { CancelWishes } from './cancel-wishes.js';

/** Ends runs that somebody does not want any more. */
@Injectable()
export class CancelService {
  constructor(
    private readonly em: EntityManager,
    private readonly wishes: CancelWishes,
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
      await this.cancelEach([runId], reason);
    });
  }

  /** Cancels everything that an agent has waiting or running, in the caller's transaction, which holds the agent. */
  async cancelAllOf(companyId: string, agentId: string, reason: string): Promise<void> {
    const runs = await this.em.execute<{ id: string }[]>(
      `select id from heartbeat_runs
       where company_id = ? and agent_id = ? and status in ('queued', 'scheduled_retry', 'running')`,
      [companyId, agentId],
    );
    if (runs.length > 0)
      await this.cancelEach(
        runs.map(({ id }) => id),
        reason,
      );
  }

  private async cancelEach(runIds: string[], reason: string): Promise<void> {
    await this.endRuns.lockOwnersOf(runIds);
    const runs = await this.em.execute<{ id: string; status: RunStatus }[]>(
      `select id, status from heartbeat_runs where id = any(?::uuid[]) order by id for no key update`,
      [`{${runIds.join(',')}}`],
    );
    const running = runs.filter((run) => run.status === 'running').map(({ id }) => id);
    await this.wishes.wish(running, { code: 'cancelled', reason, graceSec: 0 });
    const waiting = runs.filter((run) => run.status === 'queued' || run.status === 'scheduled_retry');
    await this.endRuns.endWaiting(
      waiting.map(({ id: runId }) => ({ runId, status: 'cancelled', code: 'cancelled', message: reason })),
    );
  }
}
