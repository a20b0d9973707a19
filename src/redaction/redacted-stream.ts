import type { Redactor } from './redactor.js';

const NOTHING = Buffer.alloc(0);

/**
 * One stream of output without secret values, also where one comes in several pieces. Held back is only what could still
 * become one by what follows, for as long as that lasts.
 */
export class RedactedStream {
  private held: Buffer = NOTHING;

  constructor(private readonly redactor: Redactor) {}

  /** @returns what can be shown by now of this piece and what was held back before it. */
  push(piece: Buffer): Buffer {
    const bytes = this.held.length > 0 ? Buffer.concat([this.held, piece]) : piece;
    let unsettled = this.redactor.unsettledFrom(bytes, 0);
    for (;;) {
      const { redacted, end } = this.redactor.upTo(bytes, unsettled);
      if (end === unsettled) return this.keepFrom(bytes, end, redacted);
      // A value reached into what was unsettled: only what stands behind it can still become one.
      unsettled = this.redactor.unsettledFrom(bytes, end);
    }
  }

  /** Nothing follows. @returns what was held back: no value by itself. */
  finish(): Buffer {
    const { redacted } = this.redactor.upTo(this.held, this.held.length);
    this.held = NOTHING;
    return redacted;
  }

  private keepFrom(bytes: Buffer, end: number, shown: Buffer): Buffer {
    // A copy: the piece may be part of a buffer that is used again.
    this.held = end === bytes.length ? NOTHING : Buffer.from(bytes.subarray(end));
    return shown;
  }
}
