import { DomainError } from '../errors/domain-error.js';
import { ForbiddenError } from '../auth/auth-errors.js';

/** Termination is final. */
export class AgentTerminatedError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'agent_terminated';

  constructor(agentId: string) {
    super('This agent is terminated, which is final; make a new one instead', { agentId });
  }
}

/** An agent is not deleted from under its running runs. */
export class AgentHasRunningRunsError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'agent_has_running_runs';

  constructor(runIds: string[]) {
    super('This agent is running: cancel its runs, or wait for them to end', { runIds });
  }
}

/** Several agents of the company have this name. */
export class AgentNameAmbiguousError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'agent_name_ambiguous';

  constructor(name: string, agentIds: string[]) {
    super(`Several agents are named "${name}"; use the id of the one you mean`, { agentIds });
  }
}

/** `/agents/me` was asked by somebody who is no agent. */
export class NotAnAgentError extends ForbiddenError {
  constructor() {
    super('You are not an agent: show an agent API key or a run token', 'not_an_agent');
  }
}
