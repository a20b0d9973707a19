import { DomainEvent, RegisterEvent } from '../events/domain-event.js';

abstract class AgentEvent extends DomainEvent {
  readonly subject: { type: string; id: string };
  override readonly agentId: string;

  constructor(
    readonly companyId: string,
    agentId: string,
    private readonly facts: Record<string, unknown> = {},
  ) {
    super();
    this.agentId = agentId;
    this.subject = { type: 'agent', id: agentId };
  }

  override details(): Record<string, unknown> {
    return { ...this.facts };
  }
}

@RegisterEvent
export class AgentCreated extends AgentEvent {
  static override readonly wireName = 'agent.created';
  static override readonly action = 'agent.created';
}

@RegisterEvent
export class AgentUpdated extends AgentEvent {
  static override readonly wireName = 'agent.updated';
  static override readonly action = 'agent.updated';
}

/** No run of it starts until it is resumed. */
@RegisterEvent
export class AgentPaused extends AgentEvent {
  static override readonly wireName = 'agent.paused';
  static override readonly action = 'agent.paused';
  readonly reason: string;
  /** Whether what runs and waits ends by itself instead of being cancelled. */
  readonly drain: boolean;

  constructor(companyId: string, agentId: string, { reason, drain }: { reason: string; drain: boolean }) {
    super(companyId, agentId, { reason, drain });
    this.reason = reason;
    this.drain = drain;
  }
}

@RegisterEvent
export class AgentResumed extends AgentEvent {
  static override readonly wireName = 'agent.resumed';
  static override readonly action = 'agent.resumed';
}

/** It will never run again. */
@RegisterEvent
export class AgentTerminated extends AgentEvent {
  static override readonly wireName = 'agent.terminated';
  static override readonly action = 'agent.terminated';
}

/** Gone for its users. An agent that was not terminated yet is terminated first, by an event of its own. */
@RegisterEvent
export class AgentDeleted extends AgentEvent {
  static override readonly wireName = 'agent.deleted';
  static override readonly action = 'agent.deleted';
}

abstract class AgentKeyEvent extends DomainEvent {
  readonly companyId: string;
  readonly subject: { type: string; id: string };
  override readonly agentId: string;

  private readonly name: string;

  constructor(key: { id: string; companyId: string; agentId: string; name: string }) {
    super();
    this.name = key.name;
    this.companyId = key.companyId;
    this.agentId = key.agentId;
    this.subject = { type: 'agent_api_key', id: key.id };
  }

  override details(): Record<string, unknown> {
    return { name: this.name };
  }
}

@RegisterEvent
export class AgentKeyCreated extends AgentKeyEvent {
  static override readonly wireName = 'agent_key.created';
  static override readonly action = 'agent_key.created';
}

@RegisterEvent
export class AgentKeyRevoked extends AgentKeyEvent {
  static override readonly wireName = 'agent_key.revoked';
  static override readonly action = 'agent_key.revoked';
}
