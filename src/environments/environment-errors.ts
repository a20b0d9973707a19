import { DomainError } from '../errors/domain-error.js';
import type { EnvironmentUsage } from './environment-usage.js';

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

  constructor({ activeLeaseCount, heldPlaceCount, leases }: EnvironmentUsage) {
    const held = [counted(activeLeaseCount, 'active lease'), counted(heldPlaceCount, 'place of an ended lease')];
    const what = held.filter((one) => one !== null).join(' and ');
    super(`This environment is held by ${what}: drain it, or revoke the leases, and delete it when nothing is left`, {
      activeLeaseCount,
      heldPlaceCount,
      leases,
    });
  }
}

const counted = (count: number, what: string) => (count === 0 ? null : `${count} × ${what}`);

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
