import { needlesOf } from './needles.js';
import { REDACTED } from './secret-names.js';

const REPLACEMENT = Buffer.from(REDACTED);

/**
 * Takes secret values out of what is written, wherever they stand in it. Bytes are searched, so that text which is cut
 * within a character is no exception. (One regular expression of all values is a hundred times slower.)
 */
export class Redactor {
  private readonly needles: Buffer[];
  private readonly byFirstByte: ReadonlyMap<number, Buffer[]>;
  private readonly longest: number;

  constructor(values: readonly string[]) {
    // At one place the longest counts: another value may be its beginning.
    this.needles = needlesOf(values).sort((a, b) => b.length - a.length);
    this.longest = this.needles[0]?.length ?? 0;
    this.byFirstByte = Map.groupBy(this.needles, ([first]) => first);
  }

  /** A text that is whole. */
  text(text: string): string {
    const bytes = Buffer.from(text);
    const { redacted } = this.upTo(bytes, bytes.length);
    return redacted.length === bytes.length && redacted.equals(bytes) ? text : redacted.toString('utf8');
  }

  /** A copy of a JSON value, in which texts, names and numbers are redacted; the value itself if there was nothing. */
  json<T>(value: T): T {
    if (value === null || value === undefined || !this.isIn(Buffer.from(textsOf(value)))) return value;
    return this.nested(value) as T;
  }

  /** Everything up to `end`, and whatever value begins before it. @returns what to write, and where that ends. */
  upTo(bytes: Buffer, end: number): { redacted: Buffer; end: number } {
    const parts: Buffer[] = [];
    let done = 0;
    let found = this.needles.map((needle) => ({ needle, at: bytes.indexOf(needle) })).filter(({ at }) => at >= 0);
    while (found.length > 0) {
      const first = found.reduce((before, other) => (other.at < before.at ? other : before));
      if (first.at >= end) break;
      parts.push(bytes.subarray(done, first.at), REPLACEMENT);
      done = first.at + first.needle.length;
      end = Math.max(end, done);
      for (const one of found) if (one.at < done) one.at = bytes.indexOf(one.needle, done);
      found = found.filter(({ at }) => at >= 0);
    }
    const rest = bytes.subarray(done, end);
    return { redacted: parts.length === 0 ? rest : Buffer.concat([...parts, rest]), end };
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

  private isIn(bytes: Buffer): boolean {
    return this.needles.some((needle) => bytes.includes(needle));
  }

  private nested(value: unknown): unknown {
    if (typeof value === 'string') return this.text(value);
    if (typeof value === 'number') return this.isIn(Buffer.from(String(value))) ? REDACTED : value;
    if (Array.isArray(value)) return value.map((item) => this.nested(item));
    if (typeof value !== 'object' || value === null || value instanceof Date) return value;
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [this.text(name), this.nested(item)]));
  }
}

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
