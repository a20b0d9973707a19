/** What kind of refusal an error is; one filter maps kinds to HTTP statuses. */
export type DomainErrorKind =
  | 'invalid' // 400
  | 'unauthenticated' // 401
  | 'forbidden' // 403
  | 'not_found' // 404
  | 'conflict' // 409
  | 'gone' // 410
  | 'misdirected' // 421
  | 'unacceptable' // 422
  | 'too_many' // 429
  | 'unavailable'; // 503

/** A condition that the caller can understand and act on. `message` is a sentence for a person, `code` is stable. */
export abstract class DomainError extends Error {
  abstract readonly kind: DomainErrorKind;
  abstract readonly code: string;

  constructor(
    message: string,
    /** Further facts for the caller: one entry per field for `invalid`, what holds it for `conflict`. */
    readonly details?: unknown,
  ) {
    super(message);
    this.name = new.target.name;
  }
}

/** A limit that gives way with time. */
export abstract class TooManyError extends DomainError {
  readonly kind = 'too_many';

  constructor(
    message: string,
    /** When it is worth trying again, in seconds. */
    readonly retryAfterSec: number,
    details?: unknown,
  ) {
    super(message, details);
  }
}

/** One field that was refused, for the details of an `invalid` error. */
export interface FieldProblem {
  field: string;
  message: string;
}

/** Unknown, deleted, or another company's: a caller cannot tell which. */
export class NotFoundError extends DomainError {
  readonly kind = 'not_found';
  readonly code = 'not_found';

  constructor(what: string) {
    super(`${what} not found`);
  }
}

/** A value that is not acceptable in itself. */
export class InvalidInputError extends DomainError {
  readonly kind = 'invalid';
  readonly code = 'invalid_input';

  constructor(message: string, problems: FieldProblem[] = []) {
    super(message, problems);
  }
}
