import { DomainError } from '../../errors/domain-error.js';

/** No driver of this name is built in. */
export class UnknownDriverError extends DomainError {
  readonly kind = 'invalid';
  readonly code = 'unknown_driver';

  constructor(driver: string, known: string[]) {
    super(`There is no driver "${driver}"; choose one of: ${known.join(', ')}`, [
      { field: 'driver', message: `must be one of: ${known.join(', ')}` },
    ]);
  }
}

/** The place cannot be made ready. */
export class PlaceUnavailableError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'place_unavailable';
}

/** The driver broke while a command ran: nothing that the command did. */
export class DriverFailedError extends DomainError {
  readonly kind = 'conflict';
  readonly code: string = 'driver_failed';
}

/** What had been started was lost with who had started it: it has ended, and nobody knows how. */
export class ProcessLostError extends DriverFailedError {
  override readonly code = 'process_lost';
}

/** The program could not be started: not there, not executable, or its directory is missing. */
export class CommandNotStartedError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'command_not_started';
}
