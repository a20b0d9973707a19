import { costOf, ROW_OVERHEAD_BYTES, type LogRow, type LogStream } from './log-row.js';
import { TailWindow } from './tail-window.js';
import { cutBefore, incompleteTail, MAX_CHARACTER_BYTES } from './utf8.js';

/** What one append to the database consists of. */
export interface LogBatch {
  readonly rows: readonly LogRow[];
  /** Rows from here up to there have fallen out of what is kept. */
  readonly dropFrom: number;
  readonly dropTo: number;
  /** How much output there is up to the end of this batch, kept or not. */
  readonly logBytes: number;
  readonly lastOutputAt: Date | null;
}

/** How much of the output is in it, in bytes. */
export const bytesOf = ({ rows }: LogBatch): number => rows.reduce((sum, { bytes }) => sum + bytes, 0);

const MAX_ROW_BYTES = 16 * 1024;
const MIN_ROW_BYTES = 64;
/** Parts of a row are put together when there are this many, so that single bytes do not each cost an object. */
const MAX_PARTS = 64;

/**
 * A run's output between the process and the database: numbers its bytes, joins and splits it to rows, and decides
 * what the cap leaves out. The first half of the cap is the head, which is kept for ever. The second half is a window
 * over the latest output, which moves on.
 */
export class LogBuffer {
  private total = 0;
  private lastOutputAt: Date | null = null;
  private readonly carried = new Map<LogStream, Buffer>();
  private readonly maxRowBytes: number;
  private readonly headCap: number;
  private headCost = 0;
  /** Where the head ends, once it is full. */
  private headEnd: number | null = null;
  private head: LogRow[] = [];
  private readonly tail: TailWindow;
  /** The row that further output of its stream may still be added to. */
  private open: LogRow | null = null;
  /** What still has to be stored of the head, every byte of which is kept. */
  unstoredHeadCost = 0;

  constructor(maxBytes: number) {
    this.headCap = Math.floor(maxBytes / 2);
    this.tail = new TailWindow(maxBytes - this.headCap);
    this.maxRowBytes = Math.min(MAX_ROW_BYTES, Math.max(MIN_ROW_BYTES, Math.floor(maxBytes / 16)));
  }

  /** How much output there has been, kept or not, and when the last of it came. */
  get written(): { bytes: number; lastAt: Date | null } {
    return { bytes: this.total, lastAt: this.lastOutputAt };
  }

  /** Where the first row that still has to be stored begins; null when all is stored. */
  get firstUnstored(): number | null {
    return (this.head[0] ?? this.tail.firstUnstored)?.offset ?? null;
  }

  /** Adds output. The beginning of a character waits for its end, which comes with the stream's next piece. */
  add(stream: LogStream, chunk: Buffer, at: Date): void {
    this.lastOutputAt = at;
    const carried = this.carried.get(stream);
    const bytes = carried ? Buffer.concat([carried, chunk]) : chunk;
    const complete = bytes.length - incompleteTail(bytes);
    if (complete < bytes.length) this.carried.set(stream, Buffer.from(bytes.subarray(complete)));
    else this.carried.delete(stream);
    this.append(stream, bytes.subarray(0, complete), at);
  }

  /** Adds the beginnings of characters whose ends will not come any more. */
  finish(at: Date): void {
    for (const [stream, bytes] of this.carried) this.append(stream, bytes, at);
    this.carried.clear();
  }

  /** The next rows to store, up to about `maxBytes`; they do not change any more. Null when all is stored. */
  take(maxBytes: number): LogBatch | null {
    const waiting = this.head.length > 0 ? this.head : this.tail.unstored();
    const rows: LogRow[] = [];
    for (let cost = 0; rows.length < waiting.length && cost < maxBytes;) {
      const row = waiting[rows.length];
      rows.push(row);
      cost += costOf(row);
    }
    const last = rows.at(-1);
    if (!last) return null;
    if (last === this.open) this.open = null;
    const dropFrom = this.headEnd ?? 0;
    const dropTo = this.headEnd === null ? 0 : this.tail.start(this.headEnd);
    return { rows, dropFrom, dropTo, logBytes: last.offset + last.bytes, lastOutputAt: this.lastOutputAt };
  }

  /** All that still has to be stored, if that is at most about `maxBytes` and nothing falls out for it; null if not. */
  takeLast(maxBytes: number): LogBatch | null {
    const batch = this.take(maxBytes);
    return batch?.logBytes === this.total && batch.dropFrom >= batch.dropTo ? batch : null;
  }

  /** Notes that a batch is in the database. */
  stored({ rows }: LogBatch): void {
    if (this.head[0] !== rows[0]) return this.tail.stored(rows);
    this.head = this.head.slice(rows.length);
    for (const row of rows) this.unstoredHeadCost -= costOf(row);
  }

  /** Each turn of the loop fills one row, as far as that row and the head have room for at least one character. */
  private append(stream: LogStream, bytes: Buffer, at: Date): void {
    for (let rest = bytes; rest.length > 0;) {
      if (this.open && (this.open.stream !== stream || this.rowRoom() < MAX_CHARACTER_BYTES)) this.open = null;
      if (this.headEnd === null && this.headRoom() < MAX_CHARACTER_BYTES) {
        this.headEnd = this.total;
        this.open = null;
      }
      const room = Math.min(this.rowRoom(), this.headEnd === null ? this.headRoom() : Infinity);
      const piece = rest.subarray(0, cutBefore(rest, room));
      this.place(stream, piece, at);
      rest = rest.subarray(piece.length);
    }
  }

  private rowRoom(): number {
    return this.maxRowBytes - (this.open?.bytes ?? 0);
  }

  private headRoom(): number {
    return this.headCap - this.headCost - (this.open ? 0 : ROW_OVERHEAD_BYTES);
  }

  private place(stream: LogStream, piece: Buffer, at: Date): void {
    const joins = this.open;
    const row = joins ?? { offset: this.total, stream, at, parts: [], bytes: 0 };
    row.parts.push(piece);
    row.bytes += piece.length;
    if (row.parts.length === MAX_PARTS) row.parts = [Buffer.concat(row.parts)];
    this.total += piece.length;
    this.open = row;
    const cost = piece.length + (joins ? 0 : ROW_OVERHEAD_BYTES);
    if (this.headEnd !== null) return this.tail.grow(row, cost);
    if (!joins) this.head.push(row);
    this.headCost += cost;
    this.unstoredHeadCost += cost;
  }
}
