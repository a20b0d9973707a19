import { DomainError, TooManyError } from '../../errors/domain-error.js';

/** The agent, or its company, can never be woken in its present state. */
export class AgentNotWakeableError extends DomainError {
  readonly kind = 'conflict';
  readonly code: string;

  constructor(code: 'company_archived' | 'agent_terminated' | 'agent_pending_approval' | 'agent_paused') {
    super(SENTENCES[code]);
    this.code = code;
  }
}

const SENTENCES = {
  company_archived: 'The company is archived: its agents cannot be woken',
  agent_terminated: 'The agent is terminated: it cannot be woken again',
  agent_pending_approval: 'The agent is waiting for approval and cannot be woken yet',
  agent_paused: 'The agent is paused: resume it first',
} as const;

/** An agent may wake only itself. */
export class WakeOthersForbiddenError extends DomainError {
  readonly kind = 'forbidden';
  readonly code = 'wake_others_forbidden';

  constructor() {
    super('An agent may wake only itself');
  }
}

/** The issue of a wake does not exist in the agent's company. */
export class WakeIssueUnknownError extends DomainError {
  readonly kind = 'unacceptable';
  readonly code = 'unknown_issue';

  constructor(issueId: string) {
    super('There is no such issue in the company of this agent', [
      { field: 'payload.issueId', message: `no issue ${issueId} in this company` },
    ]);
  }
}

const QUEUE_RETRY_SEC = 10;

/** So many of the company's runs wait to start that no other may. */
export class QueuedRunsQuotaError extends TooManyError {
  readonly code = 'queued_runs_quota_reached';

  constructor(limit: number) {
    super(`The ${limit} runs of this company that may wait to start are waiting already`, QUEUE_RETRY_SEC, { limit });
  }
}
