/**
 * The guard of a runner: a small process of its own that starts what the runner's leases run, and ends it where the
 * runner cannot, because it is frozen or was killed. Started by `GuardProcess`; told what to do on its standard input,
 * one `GuardMessage` a line; answers on descriptor 3, one `GuardReport` a line; says on its standard error what it ended.
 *
 * It imports its neighbours only, by names under which Node also finds them unbuilt, and what those need.
 */
import { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { bootClock } from './boot-clock.ts';
import { LineReader } from './line-reader.ts';
import type { GuardMessage, GuardReport, Hold, StartMessage } from './messages.js';
import { collectPrograms, type Exit } from './posix-spawn.ts';
import { bootId, isGroupThere, isReused, statOf } from './process-table.ts';
import { JournalWriter, removeJournal, removeOutputs } from './runner-journal.ts';
import { startGroup } from './start-group.ts';

/**
 * Timers stand still while the machine is suspended, so none may be long: this bounds how late after a resume a deadline
 * is noticed, in milliseconds.
 */
const LONGEST_SLEEP_MS = 500;

const [, , runnerPid, runnerStartTime, journalFile, outputPath] = process.argv;
const holds = new Map<string, Hold>();
const runner = { pid: Number(runnerPid), startTime: runnerStartTime || null };
const journal = new JournalWriter(journalFile, { bootId: bootId(), runner, guardPid: process.pid }, holds);
/** Asked for, and not begun. */
const waiting: StartMessage[] = [];
const reports = new Socket({ fd: 3 });
let isStarting = false;
let deadlineTimer: NodeJS.Timeout | undefined;

function take(message: GuardMessage): void {
  switch (message.type) {
    case 'start': {
      const { id, leaseId, deadline } = message;
      holds.set(id, { leaseId, groupId: null, startTime: null, deadline });
      waiting.push(message);
      void startWaiting();
      break;
    }
    case 'extend':
      for (const hold of holds.values()) {
        if (hold.leaseId === message.leaseId) hold.deadline = Math.max(hold.deadline, message.deadline);
      }
      break;
    case 'release':
      drop(message.id);
      break;
    case 'ping':
      report({ type: 'pong' });
  }
}

/** One after the other: what was said meanwhile is heard in between, above all that the runner is gone. */
async function startWaiting(): Promise<void> {
  if (isStarting) return;
  isStarting = true;
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    start(next);
    await nextTurn();
  }
  isStarting = false;
}

function start(message: StartMessage): void {
  const { id } = message;
  try {
    const beforeStart = () => {
      // Whoever comes after runner and guard knows of it before it is there, by the lease in its environment.
      if ((holds.get(id)?.deadline ?? 0) <= bootClock()) throw new Error('its lease has run out');
      record(() => journal.note(id));
    };
    const groupId = startGroup(message, outputPath, beforeStart, (exit) => hasExited(id, groupId, exit));
    const startTime = statOf(groupId)?.startTime ?? null;
    Object.assign(holds.get(id)!, { groupId, startTime });
    record(() => journal.note(id));
    report({ type: 'started', id, groupId, startTime });
  } catch (error) {
    drop(id);
    const { code = null, message: text } = error as NodeJS.ErrnoException;
    report({ type: 'failed', id, code, message: text });
  }
}

function hasExited(id: string, groupId: number, exit: Exit): void {
  const groupHasEnded = !isGroupThere(groupId);
  if (groupHasEnded) drop(id);
  report({ type: 'exited', id, ...exit, groupHasEnded });
}

function drop(id: string): void {
  if (holds.delete(id)) record(() => journal.note(id));
}

/** No grace: it never reaches past the lease. What has no group yet is not started any more. */
function end({ leaseId, groupId, startTime }: Hold, why: string): void {
  if (groupId === null || isReused(groupId, startTime)) return;
  try {
    process.kill(-groupId, 'SIGKILL');
    say(`Ended the process group ${groupId} of the lease ${leaseId}: ${why}`);
  } catch {
    // It has ended by itself.
  }
}

function endOverdue(now: number): void {
  for (const [id, hold] of holds) {
    if (hold.deadline > now) continue;
    end(hold, 'its lease has run out');
    drop(id);
  }
}

/** What cannot be written down does not keep anything from being guarded. */
function record(change: () => void): void {
  try {
    change();
  } catch (error) {
    say(`The journal ${journalFile} could not be written: ${(error as Error).message}`);
  }
}

function watch(): void {
  // Read once: it costs as much as everything else that is done for a message.
  const now = bootClock();
  endOverdue(now);
  clearTimeout(deadlineTimer);
  const next = Math.min(...[...holds.values()].map(({ deadline }) => deadline));
  if (next < Infinity) deadlineTimer = setTimeout(watch, Math.min(next - now, LONGEST_SLEEP_MS));
}

function report(what: GuardReport): void {
  reports.write(`${JSON.stringify(what)}\n`);
}

/** What was asked for and not started never will be: this is the only process that starts anything. */
function runnerIsGone(): void {
  for (const hold of holds.values()) end(hold, 'its runner is gone');
  removeJournal(journalFile);
  removeOutputs(outputPath);
  process.exit();
}

function say(sentence: string): void {
  process.stderr.write(`${sentence}\n`);
}

// Whoever stops the runner's service may ask all its processes to end: this one has to be the last, and ends with it.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
// Nobody may be left to hear it.
process.stderr.on('error', () => {});
reports.on('error', () => {});
collectPrograms();
const lines = new LineReader();
process.stdin.setEncoding('utf8');
process.stdin.on('data', (text: string) => {
  for (const line of lines.take(text)) take(JSON.parse(line) as GuardMessage);
  watch();
});
process.stdin.on('error', runnerIsGone);
process.stdin.on('end', runnerIsGone);
record(() => journal.begin());
