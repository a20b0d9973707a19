import { spawn, type ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { LineReader } from './line-reader.js';
import type { GuardMessage, GuardReport } from './messages.js';
import { statOf } from './process-table.js';

/** How long a guard that shall end is waited for, in milliseconds. */
const STOP_MS = 5_000;
/** A guard is asked for a sign of life this often, in milliseconds; one that has not given it so many times is frozen. */
const PING_MS = 1_000;
const MAX_UNANSWERED = 5;

/** Beside this file, built (`.js`) or not: Node runs either. */
const PROGRAM = fileURLToPath(new URL(`./guard-program${/\.\w+$/.exec(import.meta.url)![0]}`, import.meta.url));
/** It does little, and keeps nothing: it is kept small. */
const FLAGS = ['--max-semi-space-size=1'];

export interface GuardProcessOptions {
  readonly journal: string;
  /** Where the output of what it starts is received. */
  readonly outputPath: string;
  readonly onReport: (report: Exclude<GuardReport, { type: 'pong' }>) => void;
  /** What it says for people. */
  readonly onSentence: (text: string) => void;
}

/** One guard of this process, from its start to its end. */
export class GuardProcess {
  /**
   * Why it has ended. All that it was starting can be found by its lease by then: until a child has become the program
   * that it shall run, it keeps the guard's descriptor 3 open.
   */
  readonly ended: Promise<string>;
  private readonly child: ChildProcess;
  private unanswered = 0;

  /** In a session of its own, so that what stops or ends the runner's group at a terminal does not reach it. */
  constructor({ journal, outputPath, onReport, onSentence }: GuardProcessOptions) {
    const identity = [String(process.pid), statOf(process.pid)?.startTime ?? ''];
    this.child = spawn(process.execPath, [...FLAGS, PROGRAM, ...identity, journal, outputPath], {
      cwd: '/',
      env: {},
      stdio: ['pipe', 'ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const pings = setInterval(() => this.ping(), PING_MS);
    this.ended = this.end().finally(() => clearInterval(pings));
    // That it has ended shows above.
    this.child.stdin!.on('error', () => {});
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => onSentence(text.trimEnd()));
    const lines = new LineReader();
    (this.child.stdio[3] as Readable).setEncoding('utf8').on('data', (text: string) => {
      for (const line of lines.take(text)) {
        const report = JSON.parse(line) as GuardReport;
        if (report.type === 'pong') this.unanswered = 0;
        else onReport(report);
      }
    });
  }

  get hasEnded(): boolean {
    return this.child.pid === undefined || this.child.exitCode !== null || this.child.signalCode !== null;
  }

  tell(message: GuardMessage): void {
    this.child.stdin!.write(`${JSON.stringify(message)}\n`);
  }

  /** It ends by itself when its pipe is closed. */
  async stop(): Promise<void> {
    const killing = setTimeout(() => this.child.kill('SIGKILL'), STOP_MS);
    this.child.stdin!.end();
    await this.ended.finally(() => clearTimeout(killing));
  }

  private end(): Promise<string> {
    return new Promise((resolve) => {
      let failure: string | undefined;
      this.child.on('error', ({ message }) => (failure = message));
      this.child.once('close', (code, signal) => resolve(failure ?? String(signal ?? code)));
    });
  }

  /** One that does not answer starts nothing, tells of no end, and guards nobody. */
  private ping(): void {
    if (this.unanswered >= MAX_UNANSWERED) return void this.child.kill('SIGKILL');
    this.unanswered++;
    this.tell({ type: 'ping' });
  }
}
