import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { AgentPaused, AgentTerminated } from '../../agents/agents.events.js';
import { DomainEvents } from '../../events/domain-events.js';
import { InTransaction } from '../../events/listeners.js';
import { CancelService } from './cancel.service.js';
import { HeartbeatSkipped } from '../runs/heartbeat.events.js';
import { WakeupRequest } from '../runs/wakeup-request.entity.js';

/** Ends what an agent has under way when it is stopped, in the transaction that stops it and holds the agent. */
@Injectable()
export class AgentStops {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly cancels: CancelService,
  ) {}

  /** With `drain`, what waits stays and what runs ends by itself. */
  @InTransaction(AgentPaused)
  async paused({ companyId, agentId, drain }: AgentPaused): Promise<void> {
    if (!drain) await this.cancels.cancelAllOf(companyId, agentId, 'The agent was paused');
  }

  @InTransaction(AgentTerminated)
  async terminated({ companyId, agentId }: AgentTerminated): Promise<void> {
    await this.cancels.cancelAllOf(companyId, agentId, 'The agent was terminated');
    // Those that waited behind its own queued runs have been ended with these.
    await this.em.flush();
    const waiting = await this.em.find(WakeupRequest, { companyId, agentId, deferredIssueId: { $ne: null } });
    for (const wake of waiting) wake.cancel('agent_terminated', new Date());
    await this.events.record(
      waiting.map((wake) => new HeartbeatSkipped({ ...wake.ref(), reason: 'agent_terminated' })),
    );
  }
}
