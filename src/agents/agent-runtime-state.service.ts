import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import type { AgentRuntimeStateResponse } from './agent-runtime-state.dto.js';
import { visibleStatusOf } from './agent.entity.js';
import { AgentsService } from './agents.service.js';
import { heartbeatPolicy } from './runtime-config.js';

interface RunFacts {
  running: string;
  waiting: string;
  last_run_id: string | null;
  last_run_status: string | null;
  last_error: string | null;
}

/** Runs live in a module above this one, so this reads their table instead of asking for them. */
@Injectable()
export class AgentRuntimeStateService {
  constructor(
    private readonly em: EntityManager,
    private readonly agents: AgentsService,
  ) {}

  /** @throws NotFoundError */
  async read(agentId: string): Promise<AgentRuntimeStateResponse> {
    const agent = await this.agents.require(agentId);
    const [facts] = await this.em.execute<[RunFacts]>(
      `select (select count(*) from heartbeat_runs
                where company_id = agent.company_id and agent_id = agent.id and status = 'running') as running,
              (select count(*) from heartbeat_runs
                where company_id = agent.company_id and agent_id = agent.id and status in ('queued', 'scheduled_retry')) as waiting,
              last.id as last_run_id, last.status as last_run_status, last.error as last_error
         from agents agent
         left join lateral (
           select id, status, error from (
             (select id, status, error from heartbeat_runs
               where agent_id = agent.id and status not in ('queued', 'scheduled_retry', 'running') order by id desc limit 1)
             union all
             select id, status, error from heartbeat_runs
               where company_id = agent.company_id and agent_id = agent.id and status in ('queued', 'scheduled_retry')
             union all
             select id, status, error from heartbeat_runs
               where company_id = agent.company_id and agent_id = agent.id and status = 'running') runs
           order by id desc limit 1) last on true
        where agent.id = ?`,
      [agentId],
    );
    return {
      agentId,
      companyId: agent.companyId,
      adapterType: agent.adapterType,
      status: visibleStatusOf(agent),
      heartbeat: heartbeatPolicy(agent.runtimeConfig),
      lastHeartbeatAt: agent.lastHeartbeatAt ?? null,
      nextTimerAt: agent.nextTimerAt ?? null,
      runningRuns: Number(facts.running),
      waitingRuns: Number(facts.waiting),
      lastRunId: facts.last_run_id,
      lastRunStatus: facts.last_run_status,
      lastError: facts.last_error,
    };
  }
}
