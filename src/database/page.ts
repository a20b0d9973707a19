import { validate } from 'uuid';
import { InvalidInputError } from '../errors/domain-error.js';

/** Most rows that a list answers at once, unless it says otherwise. */
export const MAX_PAGE = 200;

/** What a caller asks of a list: at most `limit` rows after the one that `cursor` names. */
export interface PageRequest {
  readonly limit?: number;
  readonly cursor?: string;
}

/** Part of a list, newest first, and the cursor of the next part if there is one. */
export class Page<T> {
  private constructor(
    readonly items: T[],
    readonly nextCursor: string | null,
  ) {}

  /**
   * Makes a page from rows that were read with one row more than asked for.
   * @param keyOf what the next page starts after: the list's ordering key of a row.
   */
  static of<T>(rows: T[], limit: number, keyOf: (row: T) => string): Page<T> {
    const items = rows.slice(0, limit);
    const last = items.at(-1);
    const more = rows.length > limit && last !== undefined;
    return new Page(items, more ? Buffer.from(keyOf(last)).toString('base64url') : null);
  }

  map<U>(each: (item: T) => U): Page<U> {
    return new Page(this.items.map(each), this.nextCursor);
  }
}

/**
 * The key that a cursor stands for, in a list ordered by id.
 * @throws InvalidInputError when it is not one of ours.
 */
export function idFromCursor(cursor: string | undefined): string | null {
  const key = keyFromCursor(cursor);
  if (key !== null && !validate(key)) throw notACursor();
  return key;
}

/** Where an entry stands in a list ordered by time, and by a sequence number at one time. */
export interface TimeAndSequence {
  readonly time: string;
  readonly sequence: string;
}

/** The entry that a cursor stands for, as `keyOfTime` wrote it. */
export function timeFromCursor(cursor: string | undefined): TimeAndSequence | null {
  const key = keyFromCursor(cursor);
  if (key === null) return null;
  const [, time, sequence] = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)~(\d{1,18})$/.exec(key) ?? [];
  if (time === undefined || sequence === undefined) throw notACursor();
  return { time, sequence };
}

export const keyOfTime = (time: Date, sequence: number) => `${time.toISOString()}~${sequence}`;

const keyFromCursor = (cursor: string | undefined) =>
  cursor === undefined ? null : Buffer.from(cursor, 'base64url').toString('utf8');

const notACursor = () =>
  new InvalidInputError('The cursor is not one that this list gave out', [
    { field: 'cursor', message: 'take it from the Link header of the previous page' },
  ]);
