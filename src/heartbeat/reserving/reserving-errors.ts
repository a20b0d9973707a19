import { DomainError } from '../../errors/domain-error.js';
import type { Obstacle } from './lease-wish.js';

/** A wish cannot be granted now. Ends the transaction that tried; what holds the place is found out after that. */
export class ObstructedError extends Error {
  constructor(
    readonly obstacle: Obstacle,
    /** Warm places that would give way. */
    readonly warmPlaceIds: string[] = [],
  ) {
    super(`It cannot be granted now: ${obstacle}`);
  }
}

/** Somebody else has it, or comes first: the details say who. */
export class NotGrantedError extends DomainError {
  readonly kind = 'conflict';

  constructor(
    readonly code: Obstacle,
    sentence: string,
    details: object,
  ) {
    super(sentence, details);
  }
}

/** An environment or a workspace that takes no lease any more. */
export class UnusableTargetError extends DomainError {
  readonly kind = 'unacceptable';

  constructor(
    readonly code: 'environment_deleted' | 'environment_archived' | 'workspace_archived' | 'workspace_elsewhere',
    sentence: string,
  ) {
    super(sentence);
  }
}

/** A further lease ends with its run, so only a run that runs can have one. */
export class RunNotRunningError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'run_not_running';

  constructor(runId: string) {
    super('Only a run that is running can hold a further lease', { runId });
  }
}

/** Callers who wait are not for free. */
export class TooManyWaitingError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'too_many_waiting';

  constructor(limit: number) {
    super(`${limit} callers of this company wait for leases already; try again later, or without waitSec`, { limit });
  }
}

/** This process lets no more callers wait, or none any more. */
export class NoRoomToWaitError extends DomainError {
  readonly kind = 'unavailable';

  private constructor(
    readonly code: 'too_many_connections' | 'shutting_down',
    sentence: string,
  ) {
    super(sentence);
  }

  static busy(): NoRoomToWaitError {
    return new NoRoomToWaitError('too_many_connections', 'Too many callers wait here; try again, or without waitSec');
  }

  static shuttingDown(): NoRoomToWaitError {
    return new NoRoomToWaitError('shutting_down', 'The server is shutting down; wait for the lease somewhere else');
  }
}
