import { firstCharacter } from './utf8.js';

/** What is shown of the end of a stream, and how much of it can be asked for. */
const EXCERPT_BYTES = 4096;
const KEPT_BYTES = 65_536;

/** The end of a stream: enough to see why a program failed, or to read what it says last. */
export class Excerpt {
  private pieces: Buffer[] = [];
  private size = 0;

  add(chunk: Buffer): void {
    // A copy: the chunk may be part of a buffer that is used again.
    this.pieces.push(Buffer.from(chunk.subarray(-KEPT_BYTES)));
    this.size += this.pieces.at(-1)!.length;
    if (this.size > 2 * KEPT_BYTES) this.pieces = [this.end(KEPT_BYTES)];
    this.size = Math.min(this.size, this.pieces.length === 1 ? this.pieces[0].length : this.size);
  }

  /** As text that the database takes (without NUL characters), or null if there was nothing. */
  toText(maxBytes = EXCERPT_BYTES): string | null {
    if (this.size === 0) return null;
    const bytes = this.end(maxBytes);
    const start = bytes.length < this.size ? firstCharacter(bytes) : 0;
    return bytes.subarray(start).toString('utf8').replaceAll('\0', '\ufffd');
  }

  private end(bytes: number): Buffer {
    return Buffer.concat(this.pieces).subarray(-bytes);
  }
}
