import { LogBuffer } from '../../src/heartbeat/logs/log-buffer.js';
import { ROW_OVERHEAD_BYTES, type LogRow } from '../../src/heartbeat/logs/log-row.js';

const at = new Date('2026-01-01T00:00:00Z');
const MEBIBYTE = 1024 * 1024;

/** Takes and stores everything there is, like a database that keeps what it is told to. */
class Kept {
  rows: LogRow[] = [];
  constructor(readonly buffer: LogBuffer) {}

  storeAll(): void {
    for (let batch = this.buffer.take(64 * 1024); batch; batch = this.buffer.take(64 * 1024)) {
      const { dropFrom, dropTo, rows } = batch;
      this.rows = this.rows.filter(({ offset }) => offset < dropFrom || offset >= dropTo);
      this.rows.push(...rows.map((row) => ({ ...row, parts: [Buffer.concat(row.parts)] })));
      this.buffer.stored(batch);
    }
  }

  get texts(): string[] {
    return this.rows.map(({ parts }) => parts[0].toString());
  }

  get cost(): number {
    return this.rows.reduce((sum, { bytes }) => sum + bytes + ROW_OVERHEAD_BYTES, 0);
  }
}

const kept = (maxBytes: number) => new Kept(new LogBuffer(maxBytes));

describe(LogBuffer.name, () => {
  it('joins what a stream says in one go, and keeps the order of the streams', () => {
    const log = kept(MEBIBYTE);
    log.buffer.add('stdout', Buffer.from('a'), at);
    log.buffer.add('stdout', Buffer.from('b'), at);
    log.buffer.add('stderr', Buffer.from('c'), at);
    log.buffer.add('stdout', Buffer.from('d'), at);
    log.storeAll();
    expect(log.rows.map(({ stream, offset }, i) => [stream, offset, log.texts[i]])).toEqual([
      ['stdout', 0, 'ab'],
      ['stderr', 2, 'c'],
      ['stdout', 3, 'd'],
    ]);
  });

  it('changes nothing of a row that was taken', () => {
    const log = kept(MEBIBYTE);
    log.buffer.add('stdout', Buffer.from('a'), at);
    const batch = log.buffer.take(1024)!;
    log.buffer.add('stdout', Buffer.from('b'), at);
    expect(batch.rows).toMatchObject([{ offset: 0, bytes: 1 }]);
    log.buffer.stored(batch);
    log.storeAll();
    expect(log.texts).toEqual(['b']);
  });

  it.each(['é', '€', '🚢'])('does not cut %s, however the pipe cuts it', (character) => {
    const log = kept(MEBIBYTE);
    const bytes = Buffer.from(`x${character}y${character}`);
    for (const byte of bytes) {
      log.buffer.add('stdout', Buffer.from([byte]), at);
      log.buffer.add('stderr', Buffer.from('-'), at);
    }
    log.storeAll();
    expect(log.texts.filter((text) => !/^-+$/.test(text))).toEqual(['x', character, 'y', character]);
    expect(log.buffer.written.bytes).toBe(2 * bytes.length);
  });

  it('lets through bytes that are no text, and at the end what was not finished', () => {
    const log = kept(MEBIBYTE);
    const bytes = Buffer.from([0x80, 0xff, 0x00, 0xf0, 0x9f, 0x80, 0x80, 0x80, 0x80, 0xc3]);
    log.buffer.add('stdout', bytes, at);
    log.storeAll();
    expect(log.buffer.written.bytes).toBe(bytes.length - 1);
    log.buffer.finish(at);
    log.storeAll();
    expect(Buffer.concat(log.rows.flatMap(({ parts }) => parts))).toEqual(bytes);
  });

  it('cuts long output to rows between characters', () => {
    const log = kept(MEBIBYTE);
    log.buffer.add('stdout', Buffer.from('🚢'.repeat(30_000)), at);
    log.storeAll();
    expect(log.texts.join('')).toBe('🚢'.repeat(30_000));
    expect(log.texts.every((text) => /^🚢+$/u.test(text))).toBe(true);
  });

  it('keeps the head and the tail of what is more than the cap, and numbers all of it', () => {
    const log = kept(64 * 1024);
    const lines = Array.from({ length: 100_000 }, (_, i) => `${i}\n`);
    lines.forEach((line, i) => {
      log.buffer.add('stdout', Buffer.from(line), at);
      if (i % 1000 === 0) log.storeAll();
    });
    log.storeAll();
    const all = lines.join('');
    for (const [i, { offset }] of log.rows.entries()) {
      expect(all.slice(offset, offset + log.texts[i].length)).toBe(log.texts[i]);
    }
    expect(log.rows[0].offset).toBe(0);
    expect(log.texts.at(-1)).toMatch(/99999\n$/);
    const holes = log.rows.filter(({ offset }, i) => i > 0 && offset > log.rows[i - 1].offset + log.rows[i - 1].bytes);
    expect(holes).toHaveLength(1);
    expect(log.cost).toBeLessThanOrEqual(64 * 1024);
    expect(log.cost).toBeGreaterThan(55 * 1024);
    expect(log.buffer.written.bytes).toBe(all.length);
  });

  it('caps what comes one byte at a time on two streams, too', () => {
    const log = kept(64 * 1024);
    for (let i = 0; i < 20_000; i++) log.buffer.add(i % 2 ? 'stdout' : 'stderr', Buffer.from('x'), at);
    log.storeAll();
    expect(log.cost).toBeLessThanOrEqual(64 * 1024);
  });

  it('keeps at most the cap in memory while nothing can be stored', () => {
    const buffer = new LogBuffer(MEBIBYTE);
    for (let i = 0; i < 200; i++) buffer.add('stdout', Buffer.alloc(64 * 1024, 'x'), at);
    let bytes = 0;
    for (let batch = buffer.take(MEBIBYTE); batch; batch = buffer.take(MEBIBYTE)) {
      bytes += batch.rows.reduce((sum, row) => sum + row.bytes, 0);
      buffer.stored(batch);
    }
    expect(bytes).toBeLessThanOrEqual(MEBIBYTE);
    expect(buffer.written.bytes).toBe(200 * 64 * 1024);
  });

  it('stores what came while a batch was under way, even where the window has left that batch behind', () => {
    const log = kept(64 * 1024);
    log.buffer.add('stdout', Buffer.alloc(40 * 1024, 'h'), at);
    log.storeAll();
    log.buffer.add('stdout', Buffer.alloc(10 * 1024, 'a'), at);
    const slow = log.buffer.take(MEBIBYTE)!;
    log.buffer.add('stdout', Buffer.alloc(100 * 1024, 'b'), at);
    log.rows.push(...slow.rows.map((row) => ({ ...row, parts: [Buffer.concat(row.parts)] })));
    log.buffer.stored(slow);
    log.storeAll();
    expect(log.texts.join('')).toMatch(/^h+b+$/);
    expect(log.cost).toBeLessThanOrEqual(64 * 1024);
  });
});
