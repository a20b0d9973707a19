/** SQLSTATE or Node's error code of a failed statement or connection. */
function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : '';
}

const CONNECTION_CODES =
  /^(08...|57P0[1-5]|25P03|53300|ECONN(REFUSED|RESET|ABORTED)|EPIPE|ETIMEDOUT|ENOENT|EHOSTUNREACH)$/;
const CONNECTION_MESSAGES =
  /connection terminated|connection ended|timeout exceeded when trying to connect|not queryable|client has encountered a connection error/i;

/** Whether the database could not be reached or hung up: whatever was under way may or may not have happened. */
export function isConnectionLost(error: unknown): boolean {
  if (CONNECTION_CODES.test(codeOf(error))) return true;
  if (error instanceof AggregateError) return error.errors.some(isConnectionLost);
  return error instanceof Error && (CONNECTION_MESSAGES.test(error.message) || isConnectionLost(error.cause));
}

/** Whether PostgreSQL refused the transaction's own content (a constraint, a deadlock): nothing of it happened. */
export function isRefusedByDatabase(error: unknown): boolean {
  return /^(2[23]...|40...|P0...|42...)$/.test(codeOf(error));
}

/** Whether the transaction was ended so that another one, with which it was waiting in a circle, could go on. */
export function isDeadlock(error: unknown): boolean {
  return codeOf(error) === '40P01';
}

/** The name of the constraint that a statement violated, or null. */
export function violatedConstraint(error: unknown): string | null {
  const { constraint } = (error ?? {}) as { constraint?: unknown };
  return codeOf(error).startsWith('23') && typeof constraint === 'string' ? constraint : null;
}

/** Whether a prepared statement's table was changed since it was planned: planned anew it works. */
export function isPlanOutdated(error: unknown): boolean {
  return codeOf(error) === '0A000';
}
