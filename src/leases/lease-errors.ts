import { ForbiddenError } from '../auth/auth-errors.js';
import { DomainError } from '../errors/domain-error.js';

/** The caller does not hold the lease any more: it expired, was ended, or went to somebody with a newer token. */
export class LeaseLostError extends DomainError {
  readonly kind = 'gone';
  readonly code = 'lease_lost';

  constructor(leaseId: string) {
    super('This lease is no longer held by you; nothing was changed', { leaseId });
  }
}

/** A holder has to show its fencing token; only an operator may act without. */
export class FencingTokenRequiredError extends DomainError {
  readonly kind = 'forbidden';
  readonly code = 'fencing_token_required';

  constructor() {
    super('Send the fencingToken that this lease was acquired with');
  }
}

/** An agent acts on leases by the token of the run that has them, and on no others. */
export class OtherRunsLeaseError extends ForbiddenError {
  constructor() {
    super('An agent can act on the leases of its own run only, with the token of that run', 'other_runs_lease');
  }
}

/** The lease of a running run ends with its run, not before. */
export class LeaseHeldByRunError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'lease_held_by_run';

  constructor(leaseId: string, runId: string) {
    super('A running run holds this lease: cancel the run, or release with force to end both together', {
      leaseId,
      runId,
    });
  }
}

/** An exclusive workspace is in use. */
export class WorkspaceOccupiedError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'workspace_occupied';

  constructor(executionWorkspaceIds: string[]) {
    super('The exclusive workspace is in use by another lease', { executionWorkspaceIds });
  }
}

/** Leases that were held at that time may have been removed since: whatever was answered could be wrong. */
export class HistoryRemovedError extends DomainError {
  readonly kind = 'gone';
  readonly code = 'history_removed';

  constructor(completeSince: Date) {
    const since = completeSince.toISOString();
    super(`Leases that had ended before ${since} may have been removed: ask for that time or a later one`, {
      completeSince: since,
    });
  }
}

/** A slot of an environment is held; seen only by whoever did not hold the environment while choosing it. */
export class SlotTakenError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'slot_taken';

  constructor(environmentIds: string[]) {
    super('The slot is held by another lease', { environmentIds });
  }
}
