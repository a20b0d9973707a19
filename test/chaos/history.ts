import { writeFileSync } from 'node:fs';
import type { FinalRecord } from './record.js';
import { uptime, type Sign } from './signs-of-life.js';

/**
 * How an operation stands: begun; done; surely not done; or nobody knows, because its answer was lost. The form, and the
 * words, are those that independent checkers of histories read.
 */
export type OperationType = 'invoke' | 'ok' | 'fail' | 'info';

/** One step of what somebody outside did. */
export interface Operation {
  /** Who: one thing at a time. */
  readonly process: number;
  readonly type: OperationType;
  readonly f: string;
  readonly value: unknown;
  /** Nanoseconds since the history began. */
  readonly time: number;
}

/** What was done from outside, by several processes, in the order in which it was noted. */
export class History {
  readonly operations: Operation[] = [];
  /** When it began on the clock that children read, in seconds: just when that had gone on. */
  private readonly begunAtUptime = nextTick();
  private readonly begunAt = process.hrtime.bigint();
  private processes = 0;

  /** Another process: what is done in it is done one after the other. */
  process(): HistoryProcess {
    return new HistoryProcess(this, this.processes++);
  }

  /** @param at when it was, in seconds since the machine started; now unless given. */
  note(operation: Omit<Operation, 'time'>, at?: number): void {
    const time =
      at === undefined ? Number(process.hrtime.bigint() - this.begunAt) : Math.round((at - this.begunAtUptime) * 1e9);
    this.operations.push({ ...operation, time });
  }

  /** Writes it as JSON lines, in the order of time. */
  export(file: string): void {
    const inOrder = this.operations.toSorted((a, b) => a.time - b.time);
    const lines = inOrder.map((operation, index) => JSON.stringify({ index, ...operation }));
    writeFileSync(file, lines.map((line) => `${line}\n`).join(''));
  }
}

export class HistoryProcess {
  constructor(
    private readonly history: History,
    readonly id: number,
  ) {}

  note(type: OperationType, f: string, value: unknown, at?: number): void {
    this.history.note({ process: this.id, type, f, value }, at);
  }
}

/** How often the clock that children read goes on, in seconds: what it says may be so old. */
const TICK_SEC = 0.01;

/** Waits for that clock to go on, so that what is counted from then is exact. */
function nextTick(): number {
  const before = uptime();
  for (;;) {
    const now = uptime();
    if (now !== before) return now;
  }
}

/**
 * Adds what runs wrote about themselves, each as a process that holds its slot: from its first sign on, until it said that
 * it had done all that it had to. When one that was broken off let go, it could not say. Both happened within a tick of the
 * clock; what lived for less than one is left out, and what has no slot, which keeps nobody else away.
 */
export function noteLives(history: History, signs: readonly Sign[], { leases }: FinalRecord): void {
  const ofRuns = new Map(leases.filter(({ runId }) => runId !== null).map((lease) => [lease.id, lease]));
  for (const life of Map.groupBy(signs, ({ leaseId, pid }) => `${leaseId} ${pid}`).values()) {
    const [first, last] = [life[0], life[life.length - 1]];
    const lease = ofRuns.get(first.leaseId);
    if (!lease || lease.slot === null || first.at === last.at) continue;
    const process = history.process();
    const value = { lock: lease.environmentId, slot: lease.slot, token: lease.token, leaseId: lease.id };
    process.note('invoke', 'acquire', value, first.at);
    process.note('ok', 'acquire', value, first.at + TICK_SEC);
    process.note('invoke', 'release', value, last.at);
    process.note(last.what === 'end' ? 'ok' : 'info', 'release', value, last.at + TICK_SEC);
  }
}
