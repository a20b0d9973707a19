import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { MikroORM } from '@mikro-orm/postgresql';
import { RunLogStore } from '../../src/heartbeat/logs/run-log-store.js';
import { RunLogWriter } from '../../src/heartbeat/logs/run-log-writer.js';
import { Redactor } from '../../src/redaction/redactor.js';
import { close, connect, runningRun } from '../integration/run-log-fixture.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

const MEBIBYTE = 1024 * 1024;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** How much memory is in use, garbage left out, in bytes. What buffers held is given back beside a collection: the next waits. */
function live(): number {
  collectGarbage();
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

describe('the log of a process that prints 1 GB', () => {
  let database: TestDatabase;
  let orm: MikroORM;

  beforeAll(async () => {
    database = await createTestDatabase();
    orm = await connect(database.url);
  });
  afterAll(async () => {
    await orm.close();
    await database.close();
  });

  it('neither stops nor fills up', async () => {
    const holder = await runningRun(database);
    const store = new RunLogStore(orm.em.fork());
    const log = new RunLogWriter(store, holder, 16 * MEBIBYTE, new Redactor([]));
    const chunk = Buffer.alloc(64 * 1024, 'x');
    const before = live();
    let highest = 0;
    for (let i = 0; i < 16 * 1024; i++) {
      const wait = log.write('stdout', chunk);
      if (wait) await wait;
      else if (i % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
      if (i % 1024 === 0) highest = Math.max(highest, live());
    }
    await close(log, store, holder);
    expect((highest - before) / MEBIBYTE).toBeLessThan(64);
    const [{ bytes, log_bytes: written }] = await database.query<{ bytes: string; log_bytes: string }>(
      `select sum(length(content)) as bytes, log_bytes from heartbeat_runs r
       join heartbeat_run_log_chunks c on c.run_id = r.id where r.id = $1 group by r.id`,
      [holder.runId],
    );
    expect(Number(bytes)).toBeLessThanOrEqual(16 * MEBIBYTE);
    expect(Number(written)).toBe(1024 * MEBIBYTE);
  });
});
