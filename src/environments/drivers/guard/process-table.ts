import { readdirSync, readFileSync } from 'node:fs';

/** The variable by which a process of a lease is known, whatever became of its parent. */
export const LEASE_VARIABLE = 'PAPERCLIP_LEASE_ID';

/** What Linux says of a process. */
export interface ProcessStat {
  /** One letter; `Z` and `X` have ended. */
  readonly state: string;
  readonly groupId: number;
  /** In clock ticks since the machine started: tells a process from a later one with its pid. */
  readonly startTime: string;
}

/** @param text of `/proc/<pid>/stat`. */
export function parseStat(text: string): ProcessStat {
  // "pid (program) state ppid pgrp …", where the program's name may contain anything; the start time is field 22.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0], groupId: Number(fields[2]), startTime: fields[19] };
}

/** Null when there is no such process, and on systems without `/proc`. */
export function statOf(pid: number): ProcessStat | null {
  const text = read(`/proc/${pid}/stat`);
  return text === null ? null : parseStat(text);
}

/**
 * Whether the id of a group has gone to another program since. Where no process has it, it cannot have, as long as the
 * group has members.
 */
export function isReused(groupId: number, startTime: string | null): boolean {
  const leader = statOf(groupId);
  return leader !== null && startTime !== null && leader.startTime !== startTime;
}

/** Whether what is only a zombie is told from what runs: it waits for its collection, perhaps for ever. */
export const hasEnded = ({ state }: ProcessStat): boolean => state === 'Z' || state === 'X';

/** Changes when the machine starts again, and with it what pids and start times mean. */
export const bootId = (): string | null => read('/proc/sys/kernel/random/boot_id')?.trim() ?? null;

/** The groups of all processes that were started for a lease; none on systems without `/proc`. */
export function groupsOfLease(leaseId: string): number[] {
  const groups = new Set<number>();
  for (const name of listProcesses()) {
    const environment = read(`/proc/${name}/environ`);
    if (!`\0${environment}`.includes(`\0${LEASE_VARIABLE}=${leaseId}\0`)) continue;
    const stat = statOf(Number(name));
    if (stat) groups.add(stat.groupId);
  }
  return [...groups];
}

function listProcesses(): string[] {
  try {
    return readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
}

/** Null also for what belongs to another user, or ended meanwhile. */
function read(file: string): string | null {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return null;
  }
}

/** Whether the group has members, be they only waiting for their collection. */
export function isGroupThere(groupId: number): boolean {
  try {
    return process.kill(-groupId, 0);
  } catch (error) {
    // EPERM: there are members, and they have become another user's.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
