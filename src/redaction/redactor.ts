import { needlesOf } from './needles.js';
import { REDACTED } from './secret-names.js';

const REPLACEMENT = Buffer.from(REDACTED);

/**
 * Takes secret values out of what is written, wherever they stand in it. Bytes are searched as they are, each as one
 * character, so that text which is cut within a character is no exception.
 */
export class Redactor {
  private readonly needles: Buffer[];
  private readonly pattern: RegExp;
  private readonly byFirstByte = new Map<number, Buffer[]>();
  private readonly longest: number;

  constructor(values: readonly string[]) {
    // At one place the longest counts: another value may be its beginning.
    this.needles = needlesOf(values).sort((a, b) => b.length - a.length);
    this.pattern = new RegExp(this.needles.map((needle) => escaped(needle.toString('latin1'))).join('|'), 'g');
    this.longest = this.needles[0]?.length ?? 0;
    for (const needle of this.needles) {
      const known = this.byFirstByte.get(needle[0]);
      if (known) known.push(needle);
      else this.byFirstByte.set(needle[0], [needle]);
    }
  }

  /** A text that is whole. */
  text(text: string): string {
    const bytes = Buffer.from(text);
    return this.isIn(bytes) ? this.bytes(bytes).toString('utf8') : text;
  }

  /** A copy of a JSON value, in which texts, names and numbers are redacted; the value itself if there was nothing. */
  json<T>(value: T): T {
    if (value === null || value === undefined || !this.isIn(Buffer.from(textsOf(value)))) return value;
    return this.nested(value) as T;
  }

  /** Whether any value is in there. Without one nothing has to be copied. */
  isIn(bytes: Buffer): boolean {
    return this.needles.some((needle) => bytes.includes(needle));
  }

  /** Everything up to `end`, and whatever value begins before it. @returns what to write, and where that ends. */
  upTo(bytes: Buffer, end: number): { redacted: Buffer; end: number } {
    const parts: Buffer[] = [];
    let done = 0;
    for (const match of bytes.toString('latin1').matchAll(this.pattern)) {
      if (match.index >= end) break;
      parts.push(bytes.subarray(done, match.index), REPLACEMENT);
      done = match.index + match[0].length;
      end = Math.max(end, done);
    }
    parts.push(bytes.subarray(done, end));
    return { redacted: Buffer.concat(parts), end };
  }

  /** Where the part begins that could become a value, or a longer one, by what follows; the end if none could. */
  unsettledFrom(bytes: Buffer, from: number): number {
    for (let at = Math.max(from, bytes.length - this.longest + 1); at < bytes.length; at++) {
      const beginning = this.byFirstByte.get(bytes[at]);
      const rest = bytes.length - at;
      const isBeginning = beginning?.some(
        (needle) => needle.length > rest && needle.compare(bytes, at, bytes.length, 0, rest) === 0,
      );
      if (isBeginning) return at;
    }
    return bytes.length;
  }

  private bytes(bytes: Buffer): Buffer {
    return this.upTo(bytes, bytes.length).redacted;
  }

  private nested(value: unknown): unknown {
    if (typeof value === 'string') return this.text(value);
    if (typeof value === 'number') return this.isIn(Buffer.from(String(value))) ? REDACTED : value;
    if (Array.isArray(value)) return value.map((item) => this.nested(item));
    if (typeof value !== 'object' || value === null || value instanceof Date) return value;
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [this.text(name), this.nested(item)]));
  }
}

const escaped = (text: string) => text.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');

/** Every name, text and number in a value, one below the other. */
function textsOf(value: unknown): string {
  const texts: string[] = [];
  JSON.stringify(value, (name, item: unknown) => {
    texts.push(name);
    if (typeof item === 'string' || typeof item === 'number') texts.push(String(item));
    return item;
  });
  return texts.join('\n');
}
