import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** A process group that a runner has started for a lease, or is about to (then without an id). */
export interface HeldGroup {
  readonly leaseId: string;
  readonly groupId: number | null;
  /** Of the group's leader; null where the system does not say. */
  readonly startTime: string | null;
}

/** What a runner holds, for whoever comes after it and its guard. */
export interface RunnerJournal {
  /** Null where the system does not say. */
  readonly bootId: string | null;
  readonly runner: { readonly pid: number; readonly startTime: string | null };
  readonly guardPid: number;
  readonly groups: readonly HeldGroup[];
}

/** Where the runners of a home keep their journals. */
export const journalsIn = (home: string): string => join(home, 'runners');

/** Replaces the file as a whole. It does not outlive the machine, and needs no sync. */
export function writeJournal(file: string, journal: RunnerJournal): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.new`, `${JSON.stringify(journal, null, 2)}\n`);
  renameSync(`${file}.new`, file);
}

export function removeJournal(file: string): void {
  for (const path of [file, `${file}.new`]) rmSync(path, { force: true });
}
