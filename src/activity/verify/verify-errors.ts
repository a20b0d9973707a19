import { DomainError } from '../../errors/domain-error.js';

/** The record has grown past what can be checked while a request waits. */
export class RecordTooLargeError extends DomainError {
  readonly kind = 'unavailable';
  readonly code = 'record_too_large';

  constructor(seconds: number) {
    super(`One check took longer than ${seconds} seconds: use \`npm run verify\`, which may take longer`);
  }
}
