import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { AgentLifecycleService } from '../../agents/agent-lifecycle.service.js';
import type { EndedRun } from '../runs/ended-run.js';

/** Identical failures in a row after which an agent is paused. */
const MAX_IDENTICAL_FAILURES = 6;

/** Ends that the agent itself did not bring about. */
const NOT_ITS_FAULT: ReadonlySet<string> = new Set([
  'process_lost',
  'runner_shutdown',
  'transient_upstream',
  'driver_failed',
  'place_unavailable',
  'execution_failed',
  'finalise_failed',
]);

/** Lets an agent's status follow how its runs end; the caller holds the agents. */
@Injectable()
export class AgentHealth {
  constructor(
    private readonly em: EntityManager,
    private readonly agents: AgentLifecycleService,
  ) {}

  /** `error` after a failure of the agent's own, back to `idle` after a success; paused when it only ever fails alike. */
  async follow(ended: EndedRun[]): Promise<void> {
    const worked = ended.filter((run) => run.status === 'succeeded').map((run) => run.agentId);
    const failed = ended.filter(isOwnFault).map((run) => run.agentId);
    if (worked.length > 0) await this.setStatus(worked, 'error', 'idle');
    if (failed.length > 0) await this.setStatus(failed, 'idle', 'error');
    for (const agentId of new Set(failed)) await this.pauseIfStuck(agentId);
  }

  private async setStatus(agentIds: string[], from: 'idle' | 'error', to: 'idle' | 'error'): Promise<void> {
    await this.em.execute(
      `update agents set status = ?, updated_at = now()
       where id = any(?::uuid[]) and (status = ? or (status in ('active', 'running') and ? = 'error'))`,
      [to, `{${agentIds.join(',')}}`, from, to],
    );
  }

  private async pauseIfStuck(agentId: string): Promise<void> {
    const [row] = await this.em.execute<{ failures: number; kinds: number; error: string | null }[]>(
      `select count(*) filter (where status in ('failed', 'timed_out'))::integer as failures,
         count(distinct (error_code, error))::integer as kinds, max(error) as error
       from (select r.status, r.error_code, r.error from heartbeat_runs r join agents a on a.id = ?
         where r.company_id = a.company_id and r.agent_id = a.id and r.finished_at is not null
         order by r.id desc limit ?) last`,
      [agentId, MAX_IDENTICAL_FAILURES],
    );
    if (row?.failures !== MAX_IDENTICAL_FAILURES || row.kinds !== 1) return;
    await this.agents.pauseAfterFailures(agentId, `It failed ${MAX_IDENTICAL_FAILURES} times in a row: ${row.error}`);
  }
}

const isOwnFault = (run: EndedRun) =>
  (run.status === 'failed' || run.status === 'timed_out') &&
  run.leaseId !== null &&
  !NOT_ITS_FAULT.has(run.errorCode ?? '');
