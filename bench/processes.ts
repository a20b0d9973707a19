import { readdirSync, readFileSync } from 'node:fs';

/** Linux counts the time of processes in hundredths of a second, whatever the kernel was built with. */
const MS_PER_TICK = 10;

interface ProcessRow {
  readonly pid: number;
  readonly parent: number;
  readonly ownMs: number;
  /** Of its children that have ended, and of theirs. */
  readonly endedChildrenMs: number;
}

/** CPU time so far, in milliseconds. */
export interface CpuTime {
  /** Of a process and its descendants that live. */
  readonly own: number;
  /** Of descendants that have ended. */
  readonly ended: number;
}

/**
 * The CPU time of each of these processes with its descendants.
 * @param except descendants that do not count, with their own.
 */
export function cpuTimes(pids: readonly number[], except: readonly number[] = []): CpuTime[] {
  const all = processTable();
  return pids.map((pid) => {
    const family = familyOf(pid, all, except);
    return { own: sum(family, (one) => one.ownMs), ended: sum(family, (one) => one.endedChildrenMs) };
  });
}

/** Memory of a process and of each of its descendants, in bytes: what it has, and its share of what several have. */
export function memoryOf(pid: number): { pid: number; command: string; rss: number; pss: number }[] {
  return familyOf(pid, processTable()).map((one) => {
    const rollup = readFileSync(`/proc/${one.pid}/smaps_rollup`, 'utf8');
    const bytes = (name: string) => Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(rollup)?.[1]) * 1024;
    const command = readFileSync(`/proc/${one.pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
    return { pid: one.pid, command, rss: bytes('Rss'), pss: bytes('Pss') };
  });
}

function processTable(): ProcessRow[] {
  const names = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return names.flatMap((name) => rowOf(Number(name)) ?? []);
}

function familyOf(pid: number, all: readonly ProcessRow[], except: readonly number[] = []): ProcessRow[] {
  const family = all.filter((one) => one.pid === pid);
  // It grows while it is walked.
  for (const { pid: parent } of family) {
    family.push(...all.filter((one) => one.parent === parent && !except.includes(one.pid)));
  }
  return family;
}

/** @returns null for a process that has ended meanwhile. */
function rowOf(pid: number): ProcessRow | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is a name in parentheses, which may contain both.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ms = (field: number) => Number(fields[field - 3]) * MS_PER_TICK;
    return { pid, parent: Number(fields[1]), ownMs: ms(14) + ms(15), endedChildrenMs: ms(16) + ms(17) };
  } catch {
    return null;
  }
}

const sum = <T>(items: readonly T[], of: (item: T) => number) => items.reduce((total, item) => total + of(item), 0);
