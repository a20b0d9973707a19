import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { inTransaction } from '../database/transaction.js';
import { DomainEvents } from '../events/domain-events.js';
import { AgentHasRunningRunsError, AgentTerminatedError } from './agent-errors.js';
import { MAX_PAUSE_REASON, type PauseAgentDto } from './agent.dto.js';
import { Agent } from './agent.entity.js';
import { AgentDeleted, AgentPaused, AgentResumed, AgentTerminated } from './agents.events.js';
import { AgentsService } from './agents.service.js';

/** How many of the runs that hold an agent a refusal names. */
const NAMED_RUNS = 20;
const DEFAULT_PAUSE_REASON = 'manual';

/** Whether an agent may run: every method takes the agent's row lock, and repeating it changes nothing. */
@Injectable()
export class AgentLifecycleService {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly agents: AgentsService,
  ) {}

  /**
   * Pausing again changes nothing, except that a pause without `drain` cancels what one with it has left to end by itself.
   * @param drain whether what runs and waits ends by itself instead of being cancelled.
   * @throws NotFoundError, AgentTerminatedError
   */
  async pause(agentId: string, { reason, drain = false }: PauseAgentDto): Promise<Agent> {
    return inTransaction(this.em, async () => {
      const agent = await this.lockLiving(agentId);
      const isDone = agent.status === 'paused' && (drain || !(await this.hasUncancelledRuns(agentId)));
      if (!isDone) await this.pauseLocked(agent, reason ?? DEFAULT_PAUSE_REASON, drain);
      return agent;
    });
  }

  /**
   * Pauses an agent that only ever fails; what it has under way ends by itself. The caller's transaction holds the
   * agent's lock. Changes nothing about an agent that is paused, terminated or deleted.
   */
  async pauseAfterFailures(agentId: string, reason: string): Promise<void> {
    const agent = await this.em.findOneOrFail(Agent, agentId, { refresh: true });
    if (agent.status !== 'paused' && agent.status !== 'terminated')
      await this.pauseLocked(agent, reason.slice(0, MAX_PAUSE_REASON), true);
  }

  /** @throws NotFoundError, AgentTerminatedError */
  async resume(agentId: string): Promise<Agent> {
    return inTransaction(this.em, async () => {
      const agent = await this.lockLiving(agentId);
      if (agent.status !== 'paused') return agent;
      agent.resume(await this.agents.now());
      await this.em.flush();
      await this.events.record(new AgentResumed(agent.companyId, agentId));
      return agent;
    });
  }

  /**
   * Final: the agent never runs again, and its keys are worth nothing.
   * @throws NotFoundError
   */
  async terminate(agentId: string): Promise<Agent> {
    return inTransaction(this.em, async () => {
      const agent = await this.agents.lock(agentId);
      await this.terminateLocked(agent);
      return agent;
    });
  }

  /**
   * Terminates the agent and takes it out of its users' sight; its row stays, because the record names it.
   * @throws NotFoundError, AgentHasRunningRunsError
   */
  async delete(agentId: string): Promise<void> {
    return inTransaction(this.em, async () => {
      const agent = await this.agents.lock(agentId);
      const running = await this.em.execute<{ id: string }[]>(
        `select id from heartbeat_runs where company_id = ? and agent_id = ? and status = 'running' order by id limit ?`,
        [agent.companyId, agentId, NAMED_RUNS],
      );
      if (running.length > 0) throw new AgentHasRunningRunsError(running.map(({ id }) => id));
      await this.terminateLocked(agent);
      agent.delete(new Date());
      await this.em.flush();
      await this.events.record(new AgentDeleted(agent.companyId, agentId, { name: agent.name }));
    });
  }

  /** Flushed before it is told: whoever listens in the transaction sees the agent as it is now. */
  private async pauseLocked(agent: Agent, reason: string, drain: boolean): Promise<void> {
    agent.pause(reason, new Date());
    await this.em.flush();
    await this.events.record(new AgentPaused(agent.companyId, agent.id, { reason, drain }));
  }

  private async hasUncancelledRuns(agentId: string): Promise<boolean> {
    const rows = await this.em.execute<object[]>(
      `select 1 from agents a where a.id = ? and (
         exists (select 1 from heartbeat_runs
           where company_id = a.company_id and agent_id = a.id and status in ('queued', 'scheduled_retry'))
         or exists (select 1 from heartbeat_runs where company_id = a.company_id and agent_id = a.id
           and status = 'running' and (cancel_at is null or cancel_at > clock_timestamp())))`,
      [agentId],
    );
    return rows.length > 0;
  }

  private async terminateLocked(agent: Agent): Promise<void> {
    if (agent.status === 'terminated') return;
    agent.terminate();
    await this.em.flush();
    await this.events.record(new AgentTerminated(agent.companyId, agent.id));
  }

  private async lockLiving(agentId: string): Promise<Agent> {
    const agent = await this.agents.lock(agentId);
    if (agent.status === 'terminated') throw new AgentTerminatedError(agentId);
    return agent;
  }
}
