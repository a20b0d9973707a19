import type { Readable } from 'node:stream';

/** More than a pipe can hold: what comes beyond it after the end was written by a process outside the group. */
const LEFT_IN_PIPE_BYTES = 1024 * 1024;
/** How long an open but silent pipe is read once the process group has ended. */
const SILENCE_MS = 250;

/** Reads one stream of a child and delivers each piece in order, reading on only when the last one was taken. */
export class OutputPump {
  /** Settles at the end of the stream; rejects with what the receiver threw. */
  readonly done: Promise<void>;
  private finishing = false;
  private delivering = false;
  private leftBytes = LEFT_IN_PIPE_BYTES;
  private silence: NodeJS.Timeout | undefined;

  constructor(
    private readonly stream: Readable,
    private readonly deliver: (chunk: Buffer) => void | Promise<void>,
  ) {
    this.done = this.run();
  }

  /**
   * Delivers what the pipe still holds. A process that left the group may keep the pipe open for ever: silence, or
   * more than a pipe can hold, ends the reading.
   */
  finish(): Promise<void> {
    this.finishing = true;
    this.watchSilence();
    return this.done;
  }

  private async run(): Promise<void> {
    try {
      for await (const chunk of this.stream as AsyncIterable<Buffer>) {
        await this.take(chunk);
        if (this.finishing && (this.leftBytes -= chunk.length) < 0) return;
        this.watchSilence();
      }
    } catch (error) {
      // Destroyed below: that is the end of the stream, not a failure.
      if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
    } finally {
      clearTimeout(this.silence);
      this.stream.destroy();
    }
  }

  private async take(chunk: Buffer): Promise<void> {
    clearTimeout(this.silence);
    this.delivering = true;
    await this.deliver(chunk);
    this.delivering = false;
  }

  private watchSilence(): void {
    clearTimeout(this.silence);
    if (!this.finishing || this.delivering || this.stream.destroyed) return;
    this.silence = setTimeout(() => this.stream.destroy(), SILENCE_MS);
  }
}
