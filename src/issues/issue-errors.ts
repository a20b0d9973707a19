import { ForbiddenError } from '../auth/auth-errors.js';
import { DomainError } from '../errors/domain-error.js';

/** A reference to an agent that the company does not have. */
export class UnknownAssigneeError extends DomainError {
  readonly kind = 'unacceptable';
  readonly code = 'assignee_not_found';

  constructor(assigneeAgentId: string) {
    super('This company has no such agent to assign to', { assigneeAgentId });
  }
}

/** A reference to a workspace that the company does not have, or that takes no work any more. */
export class UnusableWorkspaceError extends DomainError {
  readonly kind = 'unacceptable';
  readonly code: 'workspace_not_found' | 'workspace_archived';

  private constructor(code: UnusableWorkspaceError['code'], sentence: string, executionWorkspaceId: string) {
    super(sentence, { executionWorkspaceId });
    this.code = code;
  }

  static missing(id: string): UnusableWorkspaceError {
    return new UnusableWorkspaceError('workspace_not_found', 'This company has no such execution workspace', id);
  }

  static archived(id: string): UnusableWorkspaceError {
    return new UnusableWorkspaceError('workspace_archived', 'This execution workspace is archived', id);
  }
}

/** An issue is not deleted from under the run that works on it. */
export class IssueHasLiveRunError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'issue_has_live_run';

  constructor(runId: string) {
    super('A run works on this issue: cancel it, or wait for it to end', { runId });
  }
}

/** The issue goes from hand to hand faster than its locks can be taken. */
export class IssueChangingError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'issue_changing';

  constructor(issueId: string) {
    super('This issue is being given from one agent to another again and again: try once more', { issueId });
  }
}

/** The issue is another agent's, or not in a status that the caller expects. Details say how it is. */
export class IssueHeldError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'issue_held';

  constructor({ id, status, assigneeAgentId }: { id: string; status: string; assigneeAgentId?: string | null }) {
    super(
      assigneeAgentId
        ? `This issue is ${status}, and an agent has it`
        : `This issue is ${status}, which is not what you expect`,
      { issueId: id, status, assigneeAgentId: assigneeAgentId ?? null },
    );
  }
}

/** An agent takes up issues for itself only. */
export class CheckoutForOthersError extends ForbiddenError {
  constructor() {
    super('An agent can check out an issue for itself only', 'checkout_for_others');
  }
}
