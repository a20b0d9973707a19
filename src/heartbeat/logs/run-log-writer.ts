import { setTimeout as sleep } from 'node:timers/promises';
import { isRefusedByDatabase } from '../../database/database-errors.js';
import { LeaseLostError } from '../../leases/lease-errors.js';
import { RedactedStream } from '../../redaction/redacted-stream.js';
import type { Redactor } from '../../redaction/redactor.js';
import { Excerpt } from './excerpt.js';
import { bytesOf, LogBuffer, type LogBatch } from './log-buffer.js';
import type { LogStream } from './log-row.js';
import type { LogHolder, RunLogStore } from './run-log-store.js';

/** Output is shown at most this late. */
const FLUSH_AFTER_MS = 150;
const FLUSH_ABOVE_BYTES = 256 * 1024;
/** One append at most: it holds the lease's row, which a renewal waits for. */
const BATCH_BYTES = 1024 * 1024;
/** The process waits while this much of the head is not stored yet. */
const WAIT_ABOVE_BYTES = 1024 * 1024;
/** Beyond the head most output falls out again: what comes fast is stored rarely. */
const TAIL_FLUSH_AFTER_MS = 2_000;
const FAST_TAIL_FLUSH_AFTER_MS = 10_000;
/** What is stored with the end of the run is at most about this much, because many runs may end in one transaction. */
const LAST_BYTES = 32 * 1024;
const STREAMS = ['stdout', 'stderr', 'system'] as const;
const FIRST_RETRY_MS = 50;
const MAX_RETRY_MS = 2_000;

/**
 * Writes the log of one running run, in order over all its streams. It buffers within bounds, stores in batches under
 * the run's lease, and keeps trying while the database is away. Secrets are taken out before anything else sees it.
 */
export class RunLogWriter {
  private readonly buffer: LogBuffer;
  private readonly redacted: Record<LogStream, RedactedStream>;
  private readonly excerpts = { stdout: new Excerpt(), stderr: new Excerpt(), system: new Excerpt() };
  private timer: NodeJS.Timeout | undefined;
  private draining: Promise<void> | null = null;
  private failure: Error | null = null;
  private closed = false;
  private giveUpAt = Infinity;
  private waiting: (() => void)[] = [];
  private lastDrainedBytes = 0;

  constructor(
    private readonly store: RunLogStore,
    private readonly holder: LogHolder,
    maxBytes: number,
    redactor: Redactor,
    /** Aborted when the run shall end: from then on nobody waits, and what is buffered stays within the cap. */
    private readonly ending: AbortSignal = new AbortController().signal,
  ) {
    this.buffer = new LogBuffer(maxBytes);
    const [stdout, stderr, system] = STREAMS.map(() => new RedactedStream(redactor));
    this.redacted = { stdout, stderr, system };
    ending.addEventListener('abort', () => this.letGoOn(), { once: true });
  }

  /** How much output there has been, in bytes, kept or not. */
  get logBytes(): number {
    return this.buffer.written.bytes;
  }

  get lastOutputAt(): Date | null {
    return this.buffer.written.lastAt;
  }

  /** The last 4 KiB of the stream, or null if it said nothing. */
  get stdoutExcerpt(): string | null {
    return this.excerpts.stdout.toText();
  }

  /** As much of the end of stdout as is kept, or null: its last line can be long. */
  get stdoutEnd(): string | null {
    return this.excerpts.stdout.toText(Infinity);
  }

  get stderrExcerpt(): string | null {
    return this.excerpts.stderr.toText();
  }

  /**
   * Adds output. Answers a promise when the caller should wait for it before it goes on. What comes after `close` is
   * left out.
   * @throws LeaseLostError, or what else made it impossible to store what came before.
   */
  write(stream: LogStream, chunk: Buffer | string): void | Promise<void> {
    if (this.failure) throw this.failure;
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    if (this.closed || bytes.length === 0) return;
    this.add(stream, this.redacted[stream].push(bytes));
    this.schedule();
    if (this.buffer.unstoredHeadCost <= WAIT_ABOVE_BYTES || this.ending.aborted) return;
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  /** What was held back, because it could have become a secret, will not any more: nothing follows it. */
  settle(): void {
    if (this.closed) return;
    for (const stream of STREAMS) {
      const held = this.redacted[stream].finish();
      if (held.length > 0) this.add(stream, held);
    }
    this.schedule();
  }

  /**
   * Stores everything that was written, save the beginning of a character whose end is still to come.
   * @throws like `write`
   */
  async flush(): Promise<void> {
    const end = this.logBytes;
    while (!this.failure && this.isUnstoredBefore(end)) await this.drain();
    if (this.failure) throw this.failure;
  }

  /**
   * Takes no more, and stores what was written: all of it, or all but a small rest, which is for whoever records the end of
   * the run to store with that.
   * @param withinMs how long to keep trying while the database is away.
   * @returns that rest, if there is one.
   * @throws like `write`, and the database's error when it was away for longer.
   */
  async close(withinMs = 30_000): Promise<LogBatch | null> {
    this.settle();
    this.closed = true;
    this.giveUpAt = performance.now() + withinMs;
    this.buffer.finish(this.lastOutputAt ?? new Date());
    await this.draining;
    clearTimeout(this.timer);
    const rest = this.failure ? null : this.buffer.takeLast(LAST_BYTES);
    if (!rest) await this.flush();
    return rest;
  }

  /** Also without a byte that can be shown: the process has said something. */
  private add(stream: LogStream, bytes: Buffer): void {
    if (bytes.length > 0) this.excerpts[stream].add(bytes);
    this.buffer.add(stream, bytes, new Date());
  }

  private isUnstoredBefore(end: number): boolean {
    const first = this.buffer.firstUnstored;
    return first !== null && first < end;
  }

  private schedule(): void {
    if (this.draining || this.failure || this.buffer.firstUnstored === null) return;
    if (this.buffer.unstoredHeadCost > FLUSH_ABOVE_BYTES) return void this.drain();
    this.timer ??= setTimeout(() => void this.drain(), this.delay());
  }

  private delay(): number {
    if (this.buffer.unstoredHeadCost > 0) return FLUSH_AFTER_MS;
    return this.lastDrainedBytes > BATCH_BYTES ? FAST_TAIL_FLUSH_AFTER_MS : TAIL_FLUSH_AFTER_MS;
  }

  /** Stores what there is now. Never rejects: what went wrong is kept in `failure`. */
  private drain(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.draining ??= this.storeAll()
      .catch((error: Error) => void (this.failure = error))
      .finally(() => {
        this.draining = null;
        this.letGoOn();
        this.schedule();
      });
    return this.draining;
  }

  /** Not what comes meanwhile: a process that never pauses would have its whole output stored, to be dropped again. */
  private async storeAll(): Promise<void> {
    const end = this.logBytes;
    this.lastDrainedBytes = 0;
    while (!this.failure && this.isUnstoredBefore(end)) {
      const batch = this.buffer.take(BATCH_BYTES)!;
      await this.storeBatch(batch);
      this.buffer.stored(batch);
      this.lastDrainedBytes += bytesOf(batch);
      if (this.buffer.unstoredHeadCost <= WAIT_ABOVE_BYTES) this.letGoOn();
    }
  }

  /** Tries until it is stored: an append whose answer was lost may be repeated. */
  private async storeBatch(batch: LogBatch): Promise<void> {
    for (let delay = FIRST_RETRY_MS; ; delay = Math.min(delay * 2, MAX_RETRY_MS)) {
      try {
        return await this.store.append(this.holder, batch);
      } catch (error) {
        if (isHopeless(error) || performance.now() + delay > this.giveUpAt) throw error;
        await sleep(delay);
      }
    }
  }

  private letGoOn(): void {
    const waiting = this.waiting;
    this.waiting = [];
    for (const resolve of waiting) resolve();
  }
}

/** Repeating it would fail again; a deadlock or a lost connection would not. */
function isHopeless(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  const isConflict = typeof code === 'string' && code.startsWith('40');
  return error instanceof LeaseLostError || (isRefusedByDatabase(error) && !isConflict);
}
