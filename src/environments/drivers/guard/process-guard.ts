import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Injectable, Logger } from '@nestjs/common';
import { BerthConfig } from '../../../config/config.js';
import { bootClock } from './boot-clock.js';
import type { GuardMessage, Hold } from './guard-program.js';
import { Predecessors } from './predecessors.js';
import { statOf } from './process-table.js';
import { journalsIn, removeJournal } from './runner-journal.js';

/** A guard that ends is replaced, but not more often than this, in milliseconds. */
const RESTART_MS = 1000;
/** How long a guard that shall end is waited for, in milliseconds. */
const STOP_MS = 5000;

/** Beside this file, built (`.js`) or not: Node runs either. */
const PROGRAM = fileURLToPath(new URL(`./guard-program${/\.\w+$/.exec(import.meta.url)![0]}`, import.meta.url));

/** A child that the guard knows of; first that it will be, then who it is. */
export interface GuardedChild {
  /** It has been started, as the leader of a group. */
  started(groupId: number): void;
  /** Its group has ended, or it could not be started. */
  release(): void;
}

/**
 * Keeps a process beside the runner (`guard-program.ts`) that ends what the runner's leases started, at their deadlines,
 * if the runner itself is frozen then; and at once, if it is gone. Deadlines are of the boot clock.
 */
@Injectable()
export class ProcessGuard {
  private readonly logger = new Logger(ProcessGuard.name);
  private readonly holds = new Map<number, Hold>();
  private nextId = 1;
  private journal: string | null = null;
  private program: ChildProcess | null = null;
  private restart: NodeJS.Timeout | undefined;

  constructor(
    private readonly config: BerthConfig,
    private readonly predecessors: Predecessors,
  ) {}

  /**
   * Without it nothing is guarded. Resolves when nothing is left here of runners that died; the guard is not waited for:
   * what is held meanwhile it reads as soon as it is up.
   */
  async start(runnerId: string): Promise<void> {
    this.journal = join(journalsIn(this.config.home), `${runnerId}.json`);
    this.startProgram(this.journal);
    await this.predecessors.endWhatTheyLeft();
  }

  /** The guard ends by itself when its pipe is closed; nothing is held by then. */
  async stop(): Promise<void> {
    const { journal, program } = this;
    if (journal === null) return;
    this.journal = null;
    clearTimeout(this.restart);
    if (program?.pid !== undefined && program.exitCode === null && program.signalCode === null) {
      const exited = once(program, 'exit');
      const killing = setTimeout(() => program.kill('SIGKILL'), STOP_MS);
      program.stdin?.end();
      await exited.finally(() => clearTimeout(killing));
    }
    removeJournal(journal);
  }

  /**
   * To be called before a child of the lease is started, whose environment names the lease: from here on it is found and
   * ended, even if the runner dies before it can say who the child became.
   */
  hold(leaseId: string, deadline: number): GuardedChild {
    const id = this.nextId++;
    const hold = (groupId: number | null, startTime: string | null) => {
      // A renewal may have come in between.
      const held = { id, leaseId, groupId, startTime, deadline: this.holds.get(id)?.deadline ?? deadline };
      this.holds.set(id, held);
      this.tell({ type: 'hold', hold: held });
    };
    hold(null, null);
    return {
      started: (groupId) => hold(groupId, statOf(groupId)?.startTime ?? null),
      release: () => {
        this.holds.delete(id);
        this.tell({ type: 'release', id });
      },
    };
  }

  /** A lease has been renewed. */
  extend(leaseId: string, deadline: number): void {
    const held = [...this.holds.values()].filter((hold) => hold.leaseId === leaseId);
    if (held.length === 0) return;
    for (const hold of held) hold.deadline = Math.max(hold.deadline, deadline);
    this.tell({ type: 'extend', leaseId, deadline });
  }

  /** The first write to a pipe is done before this returns: what was told is known to the guard, if this process dies. */
  private tell(message: GuardMessage): void {
    this.program?.stdin?.write(`${JSON.stringify(message)}\n`);
  }

  /** In a session of its own, so that what stops or ends the runner's group at a terminal does not reach it. */
  private startProgram(journal: string): void {
    const startedAt = bootClock();
    const identity = [String(process.pid), statOf(process.pid)?.startTime ?? ''];
    const program = spawn(process.execPath, [PROGRAM, ...identity, journal], {
      cwd: '/',
      env: {},
      stdio: ['pipe', 'ignore', 'pipe'],
      detached: true,
    });
    this.program = program;
    // That the guard has ended shows below.
    program.stdin.on('error', () => {});
    program.stderr.setEncoding('utf8').on('data', (text: string) => this.logger.warn(text.trimEnd()));
    let replaced = false;
    const replace = (reason: string) => {
      if (replaced || this.journal === null) return;
      replaced = true;
      this.logger.error(`The guard of this runner's processes has ended (${reason}) and is started again`);
      const pause = Math.max(0, startedAt + RESTART_MS - bootClock());
      this.restart = setTimeout(() => this.startProgram(journal), pause);
    };
    program.once('error', (error) => replace(error.message));
    program.once('exit', (code, signal) => replace(String(signal ?? code)));
    for (const hold of this.holds.values()) this.tell({ type: 'hold', hold });
  }
}
