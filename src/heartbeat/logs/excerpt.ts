import { firstCharacter } from './utf8.js';

const EXCERPT_BYTES = 4096;

/** The end of a stream: enough to see why a program failed. */
export class Excerpt {
  private bytes: Buffer = Buffer.alloc(0);

  add(chunk: Buffer): void {
    const kept = chunk.length >= EXCERPT_BYTES ? chunk : Buffer.concat([this.bytes, chunk]);
    this.bytes = Buffer.from(kept.subarray(-EXCERPT_BYTES));
  }

  /** As text that the database takes (without NUL characters), or null if there was nothing. */
  toText(): string | null {
    if (this.bytes.length === 0) return null;
    const cut = this.bytes.length === EXCERPT_BYTES;
    const start = cut ? firstCharacter(this.bytes) : 0;
    return this.bytes.subarray(start).toString('utf8').replaceAll('\0', '\ufffd');
  }
}
