import { MikroORM } from '@mikro-orm/postgresql';
import { connectionOptions } from '../../src/database/connection.js';
import { isConnectionLost } from '../../src/database/database-errors.js';
import { inTransaction } from '../../src/database/transaction.js';
import { DatabaseProxy } from '../support/database-proxy.js';
import { StatementFaults } from '../support/statement-faults.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

const POOL_SIZE = 2;
const UNANSWERED_MS = 300;

describe('a pool', () => {
  let database: TestDatabase;
  let orm: MikroORM;

  beforeAll(async () => {
    database = await createTestDatabase(null);
    orm = await MikroORM.init({
      ...connectionOptions(database.url, 'test', POOL_SIZE),
      entities: [],
      discovery: { warnWhenNoEntities: false },
    });
  });
  afterAll(async () => {
    await orm.close();
    await database.close();
  });

  const sql = (statement: string) => inTransaction(orm.em.fork(), () => orm.em.getContext().execute(statement));

  it('replaces connections that were lost inside transactions', async () => {
    for (let lost = 0; lost <= POOL_SIZE; lost++) {
      await expect(sql('select pg_terminate_backend(pg_backend_pid())')).rejects.toThrow();
    }
    expect(await sql('select 1 as answer')).toEqual([{ answer: 1 }]);
  });

  it('replaces connections on which no transaction can begin', async () => {
    const faults = new StatementFaults();
    for (let lost = 0; lost <= POOL_SIZE; lost++) {
      faults.failAt(0);
      await expect(sql('select 1')).rejects.toThrow('A statement failed on purpose');
    }
    faults.stop();
    expect(await sql('select 1 as answer')).toEqual([{ answer: 1 }]);
  });
});

describe('a pool whose connections are half open', () => {
  let database: TestDatabase;
  let proxy: DatabaseProxy;
  let orm: MikroORM;

  beforeAll(async () => {
    database = await createTestDatabase(null);
    proxy = await DatabaseProxy.start(database.url);
    orm = await MikroORM.init({
      ...connectionOptions(proxy.url, 'test', POOL_SIZE, UNANSWERED_MS),
      entities: [],
      discovery: { warnWhenNoEntities: false },
    });
  });
  afterAll(async () => {
    await proxy.close();
    await database.close();
  });

  const sql = (statement: string) => orm.em.fork().execute(statement);
  const inEach = (statement: string) => Promise.allSettled(Array.from({ length: POOL_SIZE }, () => sql(statement)));

  it('replaces them, and says that they were lost', async () => {
    await inEach('select pg_sleep(0.05)');
    proxy.abandon();
    for (const one of await inEach('select 1')) {
      expect(one).toMatchObject({ status: 'rejected' });
      expect(isConnectionLost((one as PromiseRejectedResult).reason)).toBe(true);
    }
    expect(await sql('select 1 as answer')).toEqual([{ answer: 1 }]);
  });

  it('waits for a statement that takes less than that', async () => {
    await sql('select pg_sleep(0.2)');
    expect(await sql('select 1 as answer')).toEqual([{ answer: 1 }]);
  });

  it('closes, though nobody hangs up at the other side', async () => {
    await inEach('select pg_sleep(0.05)');
    proxy.abandon();
    await orm.close();
  });
});
