import { DomainError, InvalidInputError } from '../errors/domain-error.js';

const SNAPSHOT = /^(\d{1,19}):(\d{1,19}):((?:\d{1,19})(?:,\d{1,19})*)?$/;

/** A snapshot from before every transaction: nothing was visible in it. */
export const BEFORE_EVERYTHING = '1:1:';

/**
 * How much of the record a reader has seen: everything that was visible in the snapshot `seen`, and, while it is half
 * way through what became visible until the snapshot `page.until`, of that everything up to one entry.
 */
export interface StreamCursor {
  /** The history of the database in which the snapshots mean something. */
  readonly epoch: string;
  readonly seen: string;
  readonly page: { readonly until: string; readonly tx: string; readonly seq: string } | null;
}

/**
 * The same snapshot as if no transaction after this one had begun. A crash of the database forgets transactions that left
 * nothing behind, and gives their numbers out again: a reader that counted them as seen would miss what comes under these.
 * Those of entries are kept.
 */
export function cutAfter(snapshot: string, tx: bigint): string {
  const [, , newest = '', running = ''] = SNAPSHOT.exec(snapshot) ?? [];
  const end = BigInt(newest) > tx ? tx + 1n : BigInt(newest);
  const open = running.split(',').filter((id) => id !== '' && BigInt(id) < end);
  return `${open[0] ?? end}:${end}:${open.join(',')}`;
}

/** The last transaction that a snapshot can know of. */
export const newestIn = (snapshot: string): bigint => BigInt(SNAPSHOT.exec(snapshot)?.[2] ?? 0) - 1n;

/** A cursor of a history that is over: the database was restored. What is missing can only be read anew. */
export class CursorOfAnotherHistoryError extends DomainError {
  readonly kind = 'gone';
  readonly code = 'cursor_of_another_history';

  constructor() {
    super(
      'This stream cannot be resumed, because the database was restored since. Read the list anew, and open a stream ' +
        'without Last-Event-ID',
    );
  }
}

/** A cursor from before entries that are not there any more: resumed, the stream would have a hole. */
export class EntriesRemovedError extends DomainError {
  readonly kind = 'gone';
  readonly code = 'entries_removed';

  constructor() {
    super(
      'This stream cannot be resumed, because entries that followed have been removed: they had been kept for long ' +
        'enough. Read the list anew, and open a stream without Last-Event-ID',
    );
  }
}

/** The cursor as the `id` of a stream event. */
export function formatCursor({ epoch, seen, page }: StreamCursor): string {
  return [epoch, seen, ...(page ? [page.until, page.tx, page.seq] : [])].join('~');
}

const NUMBER = /^\d{1,18}$/;

/** @throws InvalidInputError when it is not an id that a stream gave out. */
export function parseCursor(text: string): StreamCursor {
  const [epoch = '', seen = '', ...rest] = text.split('~');
  const [until = '', tx = '', seq = ''] = rest;
  const page = rest.length === 0 ? null : { until, tx, seq };
  const snapshots = page ? [seen, until] : [seen];
  const numbers = page ? [tx, seq] : [];
  const complete = rest.length === 0 || rest.length === 3;
  if (complete && snapshots.every(isSnapshot) && numbers.every((number) => NUMBER.test(number))) {
    return { epoch, seen, page };
  }
  const message = 'must be the id of an event of this stream';
  throw new InvalidInputError(`Invalid input: Last-Event-ID ${message}`, [{ field: 'Last-Event-ID', message }]);
}

/** What PostgreSQL takes as a `pg_snapshot`: bounds in order, and what ran between them, ascending. */
function isSnapshot(text: string): boolean {
  const [, xmin, xmax, running] = SNAPSHOT.exec(text) ?? [];
  if (xmin === undefined || xmax === undefined) return false;
  const ids = (running?.split(',') ?? []).map(BigInt);
  const from = BigInt(xmin);
  const to = BigInt(xmax);
  return (
    from > 0n && from <= to && ids.every((id, at) => id >= from && id < to && (at === 0 || id > (ids[at - 1] ?? 0n)))
  );
}
