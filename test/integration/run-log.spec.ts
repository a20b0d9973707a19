import { setTimeout as delay } from 'node:timers/promises';
import type { MikroORM } from '@mikro-orm/postgresql';
import { RunLogReader } from '../../src/heartbeat/logs/run-log-reader.js';
import { RunLogStore, type LogHolder } from '../../src/heartbeat/logs/run-log-store.js';
import { RunLogWriter } from '../../src/heartbeat/logs/run-log-writer.js';
import type { LogBatch } from '../../src/heartbeat/logs/log-buffer.js';
import { LeaseLostError } from '../../src/leases/lease-errors.js';
import { Redactor } from '../../src/redaction/redactor.js';
import { eventually } from '../support/eventually.js';
import { holdTransaction } from '../support/held-transaction.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { close, connect, runningRun } from './run-log-fixture.js';

const MEBIBYTE = 1024 * 1024;

const HIDES_NOTHING = new Redactor([]);

interface Line {
  ts: string;
  stream: string;
  chunk: string;
}

describe('the log of a run', () => {
  let database: TestDatabase;
  let orm: MikroORM;
  let store: RunLogStore;
  let reader: RunLogReader;
  let holder: LogHolder;

  beforeAll(async () => {
    database = await createTestDatabase();
    orm = await connect(database.url);
    store = new RunLogStore(orm.em.fork());
    reader = new RunLogReader(orm.em.fork());
  });
  afterAll(async () => {
    await orm.close();
    await database.close();
  });
  beforeEach(async () => {
    holder = await runningRun(database);
  });

  const open = (maxBytes = 16 * MEBIBYTE) => new RunLogWriter(store, holder, maxBytes, HIDES_NOTHING);
  const closed = (log: RunLogWriter) => close(log, store, holder);
  const lines = (content: string) =>
    content
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Line);
  const readAll = async (limitBytes?: number): Promise<Line[]> => {
    const read: Line[] = [];
    for (let offset = 0; ;) {
      const { content, nextOffset } = await reader.read(holder.runId, offset, limitBytes);
      if (content === '') return read;
      expect(nextOffset).toBeGreaterThan(offset);
      read.push(...lines(content));
      offset = nextOffset;
    }
  };
  const text = (read: Line[], stream = 'stdout') =>
    read
      .filter((line) => line.stream === stream)
      .map(({ chunk }) => chunk)
      .join('');
  const stored = async () => {
    const [row] = await database.query<{ bytes: string; rows: string }>(
      `select coalesce(sum(octet_length(content)), 0) as bytes, count(*) as rows
       from heartbeat_run_log_chunks where run_id = $1`,
      [holder.runId],
    );
    return { bytes: Number(row.bytes), rows: Number(row.rows) };
  };
  const run = async () =>
    (
      await database.query<{ log_bytes: string; last_output_at: Date | null }>(
        'select log_bytes, last_output_at from heartbeat_runs where id = $1',
        [holder.runId],
      )
    )[0];

  describe('written', () => {
    it('is all there, in order over the streams, once it is closed', async () => {
      const log = open();
      await log.write('system', 'starting\n');
      await log.write('stdout', 'one\n');
      await log.write('stderr', Buffer.from('two\n'));
      await log.write('stdout', 'three\n');
      await closed(log);
      expect((await readAll()).map(({ stream, chunk }) => [stream, chunk])).toEqual([
        ['system', 'starting\n'],
        ['stdout', 'one\n'],
        ['stderr', 'two\n'],
        ['stdout', 'three\n'],
      ]);
    });

    it('shows up by itself while the run goes on, with its size and time on the run', async () => {
      const log = open();
      void log.write('stdout', 'still here\n');
      await eventually(run, ({ log_bytes }) => log_bytes === '11', 2000);
      expect((await run()).last_output_at).toEqual(log.lastOutputAt);
      expect(text(await readAll())).toBe('still here\n');
      await closed(log);
    });

    it('keeps NUL and bytes that are no text', async () => {
      const log = open();
      await log.write('stdout', Buffer.from([0x61, 0, 0xff, 0xf0, 0x9f]));
      await closed(log);
      expect(text(await readAll())).toBe('a\0\ufffd\ufffd');
      expect(log.stdoutExcerpt).toBe('a\ufffd\ufffd\ufffd');
      expect(log.logBytes).toBe(5);
    });

    it('leaves the last 4 KiB of each stream at hand, cut between characters', async () => {
      const log = open();
      for (let i = 0; i < 3000; i++) await log.write('stdout', '€');
      expect(log.stdoutExcerpt).toBe('€'.repeat(1365));
      expect(log.stderrExcerpt).toBeNull();
      await closed(log);
    });

    it('leaves a small rest to whoever records the end of the run, and nothing else', async () => {
      const [small, large] = [open(), open()];
      await small.write('stdout', 'a line\n');
      const rest = await small.close();
      expect(rest).toMatchObject({
        logBytes: 7,
        lastOutputAt: small.lastOutputAt,
        rows: [{ stream: 'stdout', offset: 0 }],
      });
      // Longer than it takes until output is shown.
      await delay(300);
      expect(await stored()).toEqual({ bytes: 0, rows: 0 });
      await large.write('stdout', 'x'.repeat(64 * 1024));
      expect(await large.close()).toBeNull();
      expect((await stored()).bytes).toBe(64 * 1024);
    });

    it('leaves nothing where something falls out for it', async () => {
      const log = open(64 * 1024);
      for (let i = 0; i < 8; i++) await log.write('stdout', 'x'.repeat(16 * 1024));
      await log.flush();
      await log.write('stdout', 'the end\n');
      expect(await log.close()).toBeNull();
      expect(text(await readAll())).toMatch(/the end\n$/);
      expect((await stored()).bytes).toBeLessThanOrEqual(64 * 1024);
    });

    it('takes nothing more once it is closed', async () => {
      const log = open();
      await closed(log);
      await log.write('stdout', 'late');
      await log.flush();
      expect(await readAll()).toEqual([]);
    });
  });

  describe('capped', () => {
    it('keeps head and tail, reads the hole as one line, and stays small all the time', async () => {
      const log = open(MEBIBYTE);
      let highest = 0;
      for (let i = 0; i < 40; i++) {
        await log.write('stdout', `${String(i).padStart(8, '0')}${'x'.repeat(100_000)}\n`);
        if (i % 8 === 0) await log.flush();
        highest = Math.max(highest, (await stored()).bytes);
      }
      await log.write('stdout', 'the end\n');
      await closed(log);
      expect(highest).toBeLessThanOrEqual(MEBIBYTE);
      const read = await readAll();
      expect(text(read)).toMatch(/^00000000x+\n00000001x/);
      expect(text(read)).toMatch(/the end\n$/);
      const total = 40 * 100_009 + 8;
      const holes = read.filter(({ stream }) => stream === 'system');
      expect(holes).toHaveLength(1);
      expect(holes[0].chunk).toBe(`[${total - (await stored()).bytes} bytes of output were left out here]\n`);
      expect((await run()).log_bytes).toBe(String(total));
    });
  });

  describe('held to its lease', () => {
    const refused = async (log: RunLogWriter) => {
      void log.write('stdout', 'late');
      await expect(log.flush()).rejects.toThrow(LeaseLostError);
      expect(() => log.write('stdout', 'later')).toThrow(LeaseLostError);
      await expect(log.close()).rejects.toThrow(LeaseLostError);
      expect(await stored()).toEqual({ bytes: 0, rows: 0 });
      expect((await run()).log_bytes).toBe('0');
    };

    it('refuses a runner whose token is not the current one', async () => {
      await refused(
        new RunLogWriter(store, { ...holder, fencingToken: holder.fencingToken - 1 }, MEBIBYTE, HIDES_NOTHING),
      );
    });

    it('refuses a runner whose lease has run out, even if nobody has noticed', async () => {
      await database.query(
        `update environment_leases set acquired_at = now() - interval '2 s', expires_at = now() - interval '1 s'
         where id = $1`,
        [holder.leaseId],
      );
      await refused(open());
    });

    it('refuses a runner whose run has ended', async () => {
      await database.query(
        `with l as (update environment_leases set status = 'released', released_at = now(), held_until = now()
           where id = $1)
         update heartbeat_runs set status = 'succeeded', finished_at = now() where id = $2`,
        [holder.leaseId, holder.runId],
      );
      await refused(open());
    });

    it('refuses what was on its way while the run was ended', async () => {
      const ending = await holdTransaction(
        database,
        `with l as (update environment_leases set status = 'released', released_at = now(), held_until = now()
           where id = $1)
         update heartbeat_runs set status = 'succeeded', finished_at = now() where id = $2`,
        [holder.leaseId, holder.runId],
      );
      const log = open();
      void log.write('stdout', 'late');
      const flushed = expect(log.flush()).rejects.toThrow(LeaseLostError);
      await ending.blocksSomebody();
      await ending.commit();
      await flushed;
      expect(await stored()).toEqual({ bytes: 0, rows: 0 });
    });

    it("refuses a lease that is another run's", async () => {
      const other = await runningRun(database);
      await refused(new RunLogWriter(store, { ...holder, leaseId: other.leaseId }, MEBIBYTE, HIDES_NOTHING));
    });
  });

  describe('while the database is away', () => {
    it('is stored when it is back, once, even if an append was answered by silence', async () => {
      const flaky = new FlakyStore(store, ['before', 'after', 'before', 'after']);
      const log = new RunLogWriter(flaky as unknown as RunLogStore, holder, MEBIBYTE, HIDES_NOTHING);
      for (let i = 0; i < 20; i++) {
        await log.write(i % 2 ? 'stdout' : 'stderr', `${i},`);
        if (i % 5 === 0) void log.flush();
      }
      await closed(log);
      expect(flaky.failures).toEqual([]);
      const read = await readAll();
      expect(read.map(({ chunk }) => chunk).join('')).toBe(Array.from({ length: 20 }, (_, i) => `${i},`).join(''));
    });

    it('makes the process wait rather than forget, and lets it go when the run shall end', async () => {
      const away = new FlakyStore(store, Array<'before'>(1000).fill('before'));
      const ending = new AbortController();
      const log = new RunLogWriter(away as unknown as RunLogStore, holder, 16 * MEBIBYTE, HIDES_NOTHING, ending.signal);
      let wait: void | Promise<void>;
      let written = 0;
      do wait = log.write('stdout', Buffer.alloc(64 * 1024, 'x'));
      while (!wait && ++written < 1000);
      expect(written).toBeLessThan(32);
      ending.abort();
      await wait;
      expect(log.write('stdout', 'more')).toBeUndefined();
      await expect(log.close(100)).rejects.toThrow('Connection terminated');
    });

    it('gives up only when the time to close is over, with what is wrong', async () => {
      const away = new FlakyStore(store, Array<'before'>(1000).fill('before'));
      const log = new RunLogWriter(away as unknown as RunLogStore, holder, MEBIBYTE, HIDES_NOTHING);
      void log.write('stdout', 'x'.repeat(64 * 1024));
      const started = performance.now();
      await expect(log.close(500)).rejects.toThrow('Connection terminated');
      expect(performance.now() - started).toBeGreaterThan(250);
    });

    it('does not repeat what can never be stored', async () => {
      const log = new RunLogWriter(store, { ...holder, leaseId: 'no uuid' }, MEBIBYTE, HIDES_NOTHING);
      void log.write('stdout', 'x');
      await expect(log.flush()).rejects.toThrow(/uuid/);
    });
  });

  describe('read', () => {
    const write = async (...chunks: string[]) => {
      const log = open();
      for (const chunk of chunks) {
        await log.write('stdout', chunk);
        await log.flush();
      }
      await closed(log);
    };

    it('answers nothing and the same offset at the end, and before anything was written', async () => {
      expect(await reader.read(holder.runId, 0)).toEqual({ content: '', nextOffset: 0 });
      await write('abc');
      expect(await reader.read(holder.runId, 3)).toEqual({ content: '', nextOffset: 3 });
      expect(await reader.read(holder.runId, 99)).toEqual({ content: '', nextOffset: 99 });
    });

    it('begins inside a piece where the offset says so', async () => {
      await write('abc', 'def');
      const { content, nextOffset } = await reader.read(holder.runId, 1);
      expect(lines(content).map(({ chunk }) => chunk)).toEqual(['bc', 'def']);
      expect(nextOffset).toBe(6);
    });

    it('pages by whole lines, and by at least one', async () => {
      await write(...Array.from({ length: 30 }, (_, i) => `line ${i} ${'\u0001'.repeat(i)}\n`));
      const whole = text(await readAll());
      for (const limit of [1, 100, 1000]) expect(text(await readAll(limit))).toBe(whole);
      const { content } = await reader.read(holder.runId, 0, 1000);
      expect(Buffer.byteLength(content)).toBeLessThanOrEqual(1000);
      expect(lines(content).length).toBeGreaterThan(5);
    });

    it('gives each line the time at which it was written', async () => {
      const before = Date.now();
      await write('abc');
      const [line] = await readAll();
      expect(new Date(line.ts).getTime()).toBeGreaterThanOrEqual(before);
      expect(new Date(line.ts).toISOString()).toBe(line.ts);
    });

    it('says how much is missing where the offset lies in a hole', async () => {
      await write('head');
      await database.query(`insert into heartbeat_run_log_chunks values ($1, 1000, 'stdout', now(), 'tail')`, [
        holder.runId,
      ]);
      const { content, nextOffset } = await reader.read(holder.runId, 400);
      expect(lines(content).map(({ stream, chunk }) => [stream, chunk])).toEqual([
        ['system', '[600 bytes of output were left out here]\n'],
        ['stdout', 'tail'],
      ]);
      expect(nextOffset).toBe(1004);
      expect((await reader.read(holder.runId, 400, 1)).nextOffset).toBe(1000);
    });
  });
});

/** Loses the connection before or after an append, as often as told; then works. */
class FlakyStore {
  constructor(
    private readonly store: RunLogStore,
    readonly failures: ('before' | 'after')[],
  ) {}

  async append(holder: LogHolder, batch: LogBatch): Promise<void> {
    const failure = this.failures.shift();
    if (failure !== 'before') await this.store.append(holder, batch);
    if (failure) throw new Error('Connection terminated unexpectedly');
  }
}
