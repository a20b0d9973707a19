/**
 * The guard of a runner: a small process of its own that ends the process groups of a runner which cannot do so any
 * more, because it is frozen or was killed. Started by `ProcessGuard` with the runner's pid, its start time and the
 * journal's path; told what to hold on its standard input, one `GuardMessage` a line; says on its standard error what
 * it ended.
 *
 * It imports nothing but its neighbours, by names under which Node also finds them unbuilt.
 */
import { bootClock } from './boot-clock.ts';
import { bootId, groupsOfLease, statOf } from './process-table.ts';
import { removeJournal, writeJournal, type HeldGroup } from './runner-journal.ts';

/** A group to end at a deadline of the boot clock, or when the runner is gone. */
export interface Hold extends HeldGroup {
  /** Names the hold; a later message about the same one replaces it. */
  readonly id: number;
  deadline: number;
}

export type GuardMessage =
  | { readonly type: 'hold'; readonly hold: Hold }
  | { readonly type: 'extend'; readonly leaseId: string; readonly deadline: number }
  | { readonly type: 'release'; readonly id: number };

/**
 * Timers stand still while the machine is suspended, so none may be long: this bounds how late after a resume a deadline
 * is noticed, in milliseconds.
 */
const LONGEST_SLEEP_MS = 500;

const [, , runnerPid, runnerStartTime, journalFile] = process.argv;
const holds = new Map<number, Hold>();
/** Holds whose deadline has passed before they were released: what is still started for one is ended at once. */
const overdue = new Set<number>();
let timer: NodeJS.Timeout | undefined;
let unread = '';

function take(message: GuardMessage): void {
  switch (message.type) {
    case 'hold':
      if (overdue.has(message.hold.id)) end(message.hold, 'its lease has run out');
      else holds.set(message.hold.id, message.hold);
      break;
    case 'extend':
      for (const hold of holds.values()) {
        if (hold.leaseId === message.leaseId) hold.deadline = Math.max(hold.deadline, message.deadline);
      }
      break;
    case 'release':
      holds.delete(message.id);
      overdue.delete(message.id);
  }
}

/** @returns whether there was any. */
function endOverdue(): boolean {
  const before = holds.size;
  for (const hold of holds.values()) {
    if (hold.deadline > bootClock()) continue;
    end(hold, 'its lease has run out');
    holds.delete(hold.id);
    overdue.add(hold.id);
  }
  return holds.size < before;
}

/** No grace: it never reaches past the lease. */
function end({ leaseId, groupId, startTime }: Hold, why: string): void {
  for (const id of groupId === null ? groupsOfLease(leaseId) : [groupId]) {
    const leader = statOf(id);
    // Given to another program meanwhile. Where the leader is gone its id cannot be, as long as the group has members.
    if (groupId !== null && startTime !== null && leader !== null && leader.startTime !== startTime) continue;
    try {
      process.kill(-id, 'SIGKILL');
      say(`Ended the process group ${id} of the lease ${leaseId}: ${why}`);
    } catch {
      // It has ended by itself.
    }
  }
}

function keepJournal(): void {
  const runner = { pid: Number(runnerPid), startTime: runnerStartTime || null };
  const groups = [...holds.values()].map(({ leaseId, groupId, startTime }) => ({ leaseId, groupId, startTime }));
  try {
    writeJournal(journalFile, { bootId: bootId(), runner, guardPid: process.pid, groups });
  } catch (error) {
    say(`The journal ${journalFile} could not be written: ${(error as Error).message}`);
  }
}

function watch(): void {
  if (endOverdue()) keepJournal();
  clearTimeout(timer);
  const next = Math.min(...[...holds.values()].map(({ deadline }) => deadline));
  if (next < Infinity) timer = setTimeout(watch, Math.min(next - bootClock(), LONGEST_SLEEP_MS));
}

/**
 * The pipe closes when the runner has ended, and no sooner than each child that it was just starting has become another
 * program: a child keeps the runner's end open until then. So whatever was started for a lease can be found by it.
 */
function runnerIsGone(): void {
  for (const hold of holds.values()) end(hold, 'its runner is gone');
  removeJournal(journalFile);
  process.exit();
}

function say(sentence: string): void {
  process.stderr.write(`${sentence}\n`);
}

// Whoever stops the runner's service may ask all its processes to end: this one has to be the last, and ends with it.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
// Nobody may be left to hear it.
process.stderr.on('error', () => {});
process.stdin.setEncoding('utf8');
process.stdin.on('data', (text: string) => {
  const lines = (unread + text).split('\n');
  unread = lines.pop()!;
  for (const line of lines) take(JSON.parse(line) as GuardMessage);
  keepJournal();
  watch();
});
process.stdin.on('error', runnerIsGone);
process.stdin.on('end', runnerIsGone);
keepJournal();
