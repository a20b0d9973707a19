import { MikroORM } from '@mikro-orm/postgresql';
import { connectionOptions } from '../../src/database/connection.js';
import { inTransaction } from '../../src/database/transaction.js';
import { StatementFaults } from '../support/statement-faults.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

const POOL_SIZE = 2;

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
