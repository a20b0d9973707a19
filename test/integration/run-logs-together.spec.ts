import { jest } from '@jest/globals';
import type { MikroORM } from '@mikro-orm/postgresql';
import { RunLogReader } from '../../src/heartbeat/logs/run-log-reader.js';
import { RunLogStore, type LogHolder } from '../../src/heartbeat/logs/run-log-store.js';
import { RunLogWriter } from '../../src/heartbeat/logs/run-log-writer.js';
import { LeaseLostError } from '../../src/leases/lease-errors.js';
import { Redactor } from '../../src/redaction/redactor.js';
import { holdTransaction } from '../support/held-transaction.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { connect, runningRun } from './run-log-fixture.js';

const HIDES_NOTHING = new Redactor([]);

describe('logs of several runs that are stored at once', () => {
  let database: TestDatabase;
  let orm: MikroORM;
  let store: RunLogStore;
  let reader: RunLogReader;
  let holders: LogHolder[];

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
    holders = [await runningRun(database), await runningRun(database), await runningRun(database)];
  });

  /** One log for each, which has said something on both streams. */
  const opened = async (of = holders) => {
    const logs = of.map((holder) => new RunLogWriter(store, holder, 1024 * 1024, HIDES_NOTHING));
    for (const [at, log] of logs.entries()) {
      await log.write('stdout', `run ${at}, first\n`);
      await log.write('stderr', `run ${at}, second\n`);
    }
    return logs;
  };
  const said = (at: number) => [`run ${at}, first\n`, `run ${at}, second\n`];
  const stored = async ({ runId }: LogHolder) => {
    const { content } = await reader.read(runId, 0);
    return content
      .split('\n')
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as { chunk: string }).chunk);
  };

  it('share a statement, each with its own', async () => {
    const logs = await opened();
    const query = jest.spyOn(await orm.em.getConnection().getNativeClient(), 'query');
    await Promise.all(logs.map((log) => log.flush()));
    expect(query).toHaveBeenCalledTimes(1);
    query.mockRestore();
    expect(await Promise.all(holders.map(stored))).toEqual([said(0), said(1), said(2)]);
  });

  it.each([
    ['run', 'heartbeat_runs', 'runId'],
    ['lease', 'environment_leases', 'leaseId'],
  ] as const)('do not wait for one whose %s somebody holds', async (_, table, id) => {
    const held = await holdTransaction(database, `select 1 from ${table} where id = $1 for update`, [holders[0][id]]);
    const [waiting, ...logs] = await opened();
    const flushed = waiting.flush();
    await Promise.all(logs.map((log) => log.flush()));
    await held.blocksSomebody();
    const [later] = await opened([await runningRun(database)]);
    await later.flush();
    await held.commit();
    await flushed;
    expect(await Promise.all(holders.map(stored))).toEqual([said(0), said(1), said(2)]);
  });

  it('are refused where a lease was lost, and only there', async () => {
    const [lost, ...others] = holders;
    const [refused, ...logs] = await opened([{ ...lost, fencingToken: lost.fencingToken - 1 }, ...others]);
    const flushed = expect(refused.flush()).rejects.toThrow(LeaseLostError);
    await Promise.all(logs.map((log) => log.flush()));
    await flushed;
    expect(await Promise.all(holders.map(stored))).toEqual([[], said(1), said(2)]);
  });
});
