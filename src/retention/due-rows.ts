import type { Removal } from './removals.js';

/** A look at what is due, in the order of ids. */
export interface DuePage {
  readonly ids: string[];
  /** Where to look on; null when there is nothing more. */
  readonly next: string | null;
}

/** Rows that are found by their ids, and removed one page after the other. */
export interface DueRows {
  /** What is due after an id, at most a page of it. Locks nothing. */
  due(removal: Removal, after: string | null): Promise<DuePage>;

  /** Removes those of the rows that are still due and that nobody holds, in one transaction. @returns how many rows went. */
  remove(removal: Removal, ids: string[]): Promise<number>;
}

export const ID_BEFORE_ALL = '00000000-0000-0000-0000-000000000000';

/** A full page may have a next one. */
export const pageOf = (ids: string[], limit: number): DuePage => ({
  ids,
  next: ids.length === limit ? (ids.at(-1) ?? null) : null,
});

/** As PostgreSQL writes an array. */
export const arrayOf = (ids: readonly string[]): string => `{${ids.join(',')}}`;
