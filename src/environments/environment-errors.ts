import { DomainError } from '../errors/domain-error.js';
import type { EnvironmentHolder } from './environment-usage.js';

/** Environments of a company are told apart by their names. */
export class EnvironmentNameTakenError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'environment_name_taken';

  constructor(name: string) {
    super(`This company already has an environment called "${name}"`, { name });
  }
}

/** A company has one place on the server's own machine. */
export class LocalEnvironmentExistsError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'local_environment_exists';

  constructor() {
    super('This company already has a local environment; change that one, or delete it first');
  }
}

/** Nothing is taken away from those who hold something in it. */
export class EnvironmentInUseError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'environment_in_use';

  constructor(holders: EnvironmentHolder[], activeLeaseCount: number) {
    const count = activeLeaseCount === 1 ? 'An active lease holds' : `${activeLeaseCount} active leases hold`;
    super(`${count} this environment: drain it and wait, or cancel the runs, and then delete it`, {
      activeLeaseCount,
      leases: holders,
    });
  }
}

/** An archived environment is activated before anything else is done with it. */
export class EnvironmentArchivedError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'environment_archived';

  constructor() {
    super('This environment is archived, so there is nothing to drain; activate it first');
  }
}

/** Workspaces of a company are told apart by their names. */
export class WorkspaceNameTakenError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'workspace_name_taken';

  constructor(name: string) {
    super(`This company already has an execution workspace called "${name}"`, { name });
  }
}
