import { DomainError } from '../../errors/domain-error.js';

/** The run is still there, and what it wrote is not: it had been kept for long enough. */
export class RunLogRemovedError extends DomainError {
  readonly kind = 'gone';
  readonly code = 'run_log_removed';

  constructor(runId: string) {
    super('The log of this run has been removed: it had been kept for as long as its company keeps logs', { runId });
  }
}
