import type { Socket } from 'node:net';
import { DriverFailedError, ProcessLostError } from '../driver-errors.js';
import type { ExitReport, FailureReport, GuardReport, Hold, OutputName } from './messages.js';

/** How long after a program's end its streams, which were connected before its start, are waited for, in milliseconds. */
const OUTPUTS_MS = 5_000;

export interface Outputs {
  readonly stdout: Socket;
  readonly stderr: Socket;
}

/** The guard could not start a program. */
export class StartFailure extends Error {
  /** Of the system's error; null for what went wrong around the program. */
  readonly code: string | null;

  constructor({ code, message }: FailureReport) {
    super(message);
    this.code = code;
  }
}

/** A command that the guard has been told to start. */
export class GuardedChild {
  private readonly start = Promise.withResolvers<void>();
  private readonly connected = Promise.withResolvers<Outputs>();
  private readonly exit = Promise.withResolvers<ExitReport>();
  private readonly streams: Partial<Record<OutputName, Socket>> = {};
  /** Resolves when it runs; rejects with a `StartFailure`, or when nobody knows whether it does. */
  readonly started = this.start.promise;
  /** Resolves with what it writes; rejects when that is not received. */
  readonly outputs = this.connected.promise;
  /** How the group's leader has ended; rejects when nobody knows. */
  readonly exited = this.exit.promise;

  constructor(
    readonly id: string,
    /** What the guard ends it by; without a group before it has started. */
    readonly hold: Hold,
  ) {
    // Not everybody waits for all of it.
    for (const promise of [this.started, this.outputs, this.exited]) promise.catch(() => undefined);
  }

  connect(name: OutputName, stream: Socket): void {
    // Whoever comes later is not the program's: that has had its streams from the start.
    if (this.streams[name]) return void stream.destroy();
    this.streams[name] = stream;
    const { stdout, stderr } = this.streams;
    if (stdout && stderr) this.connected.resolve({ stdout, stderr });
  }

  take(report: Exclude<GuardReport, { type: 'pong' }>): void {
    switch (report.type) {
      case 'started':
        this.hold.groupId = report.groupId;
        this.hold.startTime = report.startTime;
        return this.start.resolve();
      case 'failed':
        return this.start.reject(new StartFailure(report));
      case 'exited':
        this.exit.resolve(report);
        this.missOutputs();
    }
  }

  /** Whoever started it has gone, and with it the knowledge of how it ends. */
  lose(reason: string): void {
    const error = new ProcessLostError(reason);
    this.start.reject(error);
    this.exit.reject(error);
    this.missOutputs();
  }

  /** Nobody reads its output any more. */
  disconnect(): void {
    this.streams.stdout?.destroy();
    this.streams.stderr?.destroy();
  }

  private missOutputs(): void {
    if (this.streams.stdout && this.streams.stderr) return;
    const miss = () => this.connected.reject(new DriverFailedError('The output of the program was not received'));
    setTimeout(miss, OUTPUTS_MS).unref();
  }
}
