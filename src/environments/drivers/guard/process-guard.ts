import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { DriverFailedError } from '../driver-errors.js';
import { ProcessGroup } from '../process-group.js';
import { bootClock } from './boot-clock.js';
import { GuardProcess } from './guard-process.js';
import { GuardedChild } from './guarded-child.js';
import type { StartMessage } from './messages.js';
import { OutputListener } from './output-listener.js';
import { groupsOf } from './predecessors.js';
import { outputsOf, removeJournal } from './runner-journal.js';

/** A guard that ends is replaced, but not more often than this, in milliseconds. */
const RESTART_MS = 1_000;
/** How long a command waits for a guard to start it, in milliseconds. */
const WAIT_MS = 10_000;

/** A program to start for a lease, whose environment names the lease. */
export type GuardedCommand = Omit<StartMessage, 'type' | 'id'>;

/**
 * Keeps a process beside the runner (`guard-program.ts`) that starts what leases of the runner run. It ends that at the
 * deadlines, if the runner itself is frozen then; and at once, if the runner is gone. Deadlines are of the boot clock.
 */
export class ProcessGuard {
  private readonly logger = new Logger(ProcessGuard.name);
  /** What the guard has been told to start, until all of it has ended. */
  private readonly children = new Map<string, GuardedChild>();
  private readonly stopping = new AbortController();
  private outputs: OutputListener | null = null;
  private program: GuardProcess | null = null;
  private nextProgram = Promise.withResolvers<void>();
  private keeping: Promise<void> = Promise.resolve();

  /** @param journal the file in which the guard keeps what it holds. */
  constructor(private readonly journal: string) {}

  /** Resolves when there is a place for the output of what it will start. */
  async start(): Promise<void> {
    this.outputs = await OutputListener.open(outputsOf(this.journal));
    this.keeping = this.keep(this.outputs);
  }

  /** The guard ends by itself when its pipe is closed; nothing has been left to it by then. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.program?.stop();
    await this.keeping;
    this.outputs?.close();
  }

  /** Resolves when there is a guard to start something. @throws DriverFailedError when none comes up. */
  async ready(): Promise<void> {
    if (this.program && !this.program.hasEnded) return;
    const waited = new AbortController();
    const tooLong = delay(WAIT_MS, true, { signal: waited.signal }).catch(() => false);
    const isMissing = await Promise.race([this.nextProgram.promise, tooLong]);
    waited.abort();
    if (isMissing) throw new DriverFailedError("The runner's guard does not start, and nothing is started without it");
  }

  /** Has a command started; to be called when the guard is ready, and followed by `release`. */
  run(command: GuardedCommand): GuardedChild {
    const id = randomUUID();
    const { leaseId, deadline } = command;
    const child = new GuardedChild(id, { leaseId, deadline, groupId: null, startTime: null });
    this.children.set(id, child);
    this.outputs!.expect(id, (name, stream) => child.connect(name, stream));
    this.program!.tell({ type: 'start', id, ...command });
    return child;
  }

  /** Nothing of the child runs any more, or it was lost. */
  release(child: GuardedChild): void {
    this.outputs!.forget(child.id);
    child.disconnect();
    // The guard itself has noticed the end of most.
    if (this.children.delete(child.id)) this.program!.tell({ type: 'release', id: child.id });
  }

  /** Leases have been renewed. @param deadlines by lease. */
  extend(deadlines: ReadonlyMap<string, number>): void {
    const guarded = new Set([...this.children.values()].map(({ hold }) => hold.leaseId));
    for (const [leaseId, deadline] of deadlines) {
      if (guarded.has(leaseId)) this.program!.tell({ type: 'extend', leaseId, deadline });
    }
  }

  private async keep(outputs: OutputListener): Promise<void> {
    while (!this.stopping.signal.aborted) {
      const startedAt = bootClock();
      const reason = await this.guard(outputs.path);
      if (this.stopping.signal.aborted) break;
      this.logger.error(`The guard of this runner's processes has ended (${reason}) and is started again`);
      // Before its journal is replaced, so that they are known to somebody all the time.
      await this.endLost();
      const pause = Math.max(0, startedAt + RESTART_MS - bootClock());
      await delay(pause, undefined, { signal: this.stopping.signal }).catch(() => undefined);
    }
    removeJournal(this.journal);
  }

  /** @returns why the guard has ended. */
  private async guard(outputPath: string): Promise<string> {
    try {
      this.program = new GuardProcess({
        journal: this.journal,
        outputPath,
        onReport: (report) => {
          const child = this.children.get(report.id);
          if (report.type === 'failed' || (report.type === 'exited' && report.groupHasEnded)) {
            this.children.delete(report.id);
          }
          child?.take(report);
        },
        onSentence: (text) => this.logger.warn(text),
      });
      this.nextProgram.resolve();
      return await this.program.ended;
    } catch (error) {
      return (error as Error).message;
    } finally {
      this.nextProgram = Promise.withResolvers();
    }
  }

  /** Nobody learns any more how what the guard has started ends, or whether it has started what it was told. */
  private async endLost(): Promise<void> {
    const lost = [...this.children.values()];
    this.children.clear();
    await Promise.all(
      lost.map(async (child) => {
        await Promise.all(groupsOf(child.hold).map((id) => new ProcessGroup(id).end(0)));
        child.lose('The guard of its runner has ended, and with it what this run had started');
      }),
    );
  }
}
