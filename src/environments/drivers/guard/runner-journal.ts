import { closeSync, mkdirSync, openSync, renameSync, rmdirSync, rmSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** Past so many lines, and two for each group that is held, a journal is begun anew. */
const MAX_LINES = 1_000;

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

/** Where the runner of a journal listens for the output of what it has started: in a directory of its own. */
export const outputsOf = (journalFile: string): string =>
  join(dirname(journalFile), basename(journalFile, '.json'), 'outputs');

/** A journal is a line that says whose it is, and then a line for each change: held so, or not any more. */
type Line = { readonly id: string; readonly held: HeldGroup | null };

/**
 * What is held is on record before `note` returns, for a file that outlives this process but not the machine. Appended
 * to, because replacing a file makes some file systems write it out, which takes milliseconds.
 */
export class JournalWriter {
  private readonly file: string;
  private readonly owner: Omit<RunnerJournal, 'groups'>;
  /** Read for the whole record, when the file is begun anew. */
  private readonly held: ReadonlyMap<string, HeldGroup>;
  private descriptor: number | null = null;
  private lines = 0;

  constructor(file: string, owner: Omit<RunnerJournal, 'groups'>, held: ReadonlyMap<string, HeldGroup>) {
    this.file = file;
    this.owner = owner;
    this.held = held;
  }

  /** Records that this one is held now as it is, or no longer. @throws what the system says. */
  note(id: string): void {
    if (this.descriptor === null || this.lines > MAX_LINES + 2 * this.held.size) return this.begin();
    writeSync(this.descriptor, this.lineOf(id));
    this.lines++;
  }

  /** Writes all of it to a new file, which takes the place of the old one. @throws what the system says. */
  begin(): void {
    const temporary = `${this.file}.new`;
    mkdirSync(dirname(this.file), { recursive: true });
    const descriptor = openSync(temporary, 'w', 0o600);
    try {
      writeSync(
        descriptor,
        [`${JSON.stringify(this.owner)}\n`, ...[...this.held.keys()].map((id) => this.lineOf(id))].join(''),
      );
      renameSync(temporary, this.file);
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
    if (this.descriptor !== null) closeSync(this.descriptor);
    this.descriptor = descriptor;
    this.lines = this.held.size;
  }

  private lineOf(id: string): string {
    const hold = this.held.get(id);
    const held = hold ? { leaseId: hold.leaseId, groupId: hold.groupId, startTime: hold.startTime } : null;
    return `${JSON.stringify({ id, held } satisfies Line)}\n`;
  }
}

/** @throws SyntaxError for what is no journal; a last line that its writer did not finish says nothing. */
export function parseJournal(text: string): RunnerJournal {
  const [owner, ...changes] = text.split('\n').slice(0, -1);
  const groups = new Map<string, HeldGroup>();
  for (const change of changes) {
    const { id, held } = JSON.parse(change) as Line;
    if (held) groups.set(id, held);
    else groups.delete(id);
  }
  return { ...(JSON.parse(owner) as Omit<RunnerJournal, 'groups'>), groups: [...groups.values()] };
}

export function removeJournal(file: string): void {
  for (const path of [file, `${file}.new`]) rmSync(path, { force: true });
}

/** Removes the socket and its directory, in which nothing else is. */
export function removeOutputs(path: string): void {
  rmSync(path, { force: true });
  try {
    rmdirSync(dirname(path));
  } catch {
    // It is gone already, or never was.
  }
}
