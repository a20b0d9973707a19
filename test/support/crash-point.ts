import { createHash } from 'node:crypto';

/** A moment between two statements at which a process can die. */
export interface CrashPoint {
  /** The same for the same statement after the same ones in its transaction. */
  readonly key: string;
  /** Before the statement reaches the server; or when it has been carried out and its answer is not heard. */
  readonly when: 'before' | 'after';
  /** The transaction's statements up to this one; this one alone outside of a transaction. */
  readonly statements: readonly string[];
  /** What becomes lasting with this statement, a commit or a write outside of a transaction; null with any other. */
  readonly completes: Operation | null;
}

/** What a transaction, or a statement that writes outside of one, is known by. */
const OPERATIONS = {
  wake: /^insert into idempotency_keys/,
  claim: /^with wanted .* insert into environment_leases /,
  provision: /^with held as \( update environment_leases l set provider_lease_id/,
  reap: / as had_its_time,/,
  finalise: / update environment_leases l set status = ending\.status/,
  'clean-up':
    /^update environment_places p set attempts|^with gone as \( update environment_places p set state = 'gone'/,
  execution: /^with held as .* update heartbeat_runs r set process_pid|^with run as .* heartbeat_run_log_chunks/,
};
export type Operation = keyof typeof OPERATIONS | 'anything else';

const WRITES = /^(insert|update|delete|with\b.*\b(insert|update|delete)\b)/;
/** What the clock brings, whatever is played: who is there, and what is too old. */
const HOUSEKEEPING = /\brunners\b|retention_|pg_advisory_xact_lock\(1885431653\)|set restored_as/;

/**
 * The points at a statement. Where nothing is written outside of a transaction there is none: dying there is dying after
 * what was done before. Nor is there one after what found nothing to write.
 * @param before the statements of its transaction so far; null outside of one.
 */
export function pointsAt(text: string, before: readonly string[] | null): { before?: CrashPoint; after?: CrashPoint } {
  const statements = [...(before ?? []), text].map(normalised);
  if (HOUSEKEEPING.test(statements[0]) || (before === null && !WRITES.test(statements[0]))) return {};
  const isLast = before === null || text === 'commit';
  const completes = isLast ? operationOf(statements) : null;
  const point = (when: CrashPoint['when']) => ({ key: keyOf(when, statements), when, statements, completes });
  return { before: point('before'), ...(isLast ? { after: point('after') } : {}) };
}

/** Of the first that any of the statements is known by. */
export function operationOf(statements: readonly string[]): Operation {
  const names = Object.keys(OPERATIONS) as (keyof typeof OPERATIONS)[];
  return names.find((name) => statements.some((text) => OPERATIONS[name].test(text))) ?? 'anything else';
}

const keyOf = (when: string, statements: readonly string[]) =>
  createHash('sha256')
    .update(`${when} ${statements.join('\n')}`)
    .digest('hex')
    .slice(0, 12);

/** However many rows or values it has. */
const normalised = (text: string) =>
  text
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/\$\d+/g, '$')
    .replaceAll(/(\((?:(?:\$|default|null)(?:, )?)+\)(?:, )?)+/g, '($)');
