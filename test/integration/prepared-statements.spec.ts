import { MikroORM, raw, UniqueConstraintViolationException } from '@mikro-orm/postgresql';
import { answers } from '../../src/database/answers.js';
import { connectionOptions } from '../../src/database/connection.js';
import { sendWithCommit } from '../../src/database/prepared-statements.js';
import { ormOptions } from '../../src/mikro-orm.config.js';
import { countSent } from '../support/sent-counts.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

describe('statements with values', () => {
  let database: TestDatabase;
  let orm: MikroORM;

  beforeAll(async () => {
    database = await createTestDatabase();
    await database.query('create table cargo (id integer primary key, name text, stowed_at timestamptz)');
    await database.query(`insert into cargo values (1, 'rope', null), (2, 'what?', null), (3, null, null)`);
    orm = await MikroORM.init(ormOptions(connectionOptions(database.url, 'test', 1)));
  });
  afterAll(async () => {
    await orm.close();
    await database.close();
  });

  const execute = <Row extends object>(sql: string, values: unknown[] = []) =>
    orm.em.fork().execute<Row[]>(sql, values);
  const prepared = async (like: string) =>
    (await execute('select name from pg_prepared_statements where statement like ?', [like])).length;

  it('are prepared once for a connection', async () => {
    for (let id = 1; id < 4; id++) await execute('select id from cargo where id = ?', [id]);
    expect(await prepared('select id from cargo where id = $1')).toBe(1);
  });

  it('are not, where they have so many values that they will not come again', async () => {
    const ids = Array.from({ length: 201 }, (_, id) => id);
    expect(await execute('select id from cargo where id in (?)', [ids])).toHaveLength(3);
    expect(await prepared('select id from cargo where id in (%')).toBe(0);
  });

  it.each([
    ['a text, with a question mark of its own', `name = ? and name like '%\\?'`, ['what?'], [2]],
    ['nothing', 'name is not distinct from ?', [null], [3]],
    ['a name of a column', '?? = ?', ['name', 'rope'], [1]],
    ['a list', 'id in (?)', [[1, 3]], [1, 3]],
    ['a part of the statement with values of its own', '? and id < ?', [raw('id > ?', [1]), 3], [2]],
    ['a time', 'coalesce(stowed_at, ?::timestamptz) = ?', [new Date(5), '1970-01-01T00:00:00.005Z'], [1, 2, 3]],
    ['an object', `?::jsonb ->> 'name' = name`, [{ name: 'rope' }], [1]],
  ])('carry %s', async (_what, condition, values, ids) => {
    const rows = await execute<{ id: number }>(`select id from cargo where ${condition} order by id`, values);
    expect(rows.map(({ id }) => id)).toEqual(ids);
  });

  it('are planned anew when their table has changed', async () => {
    const all = () => execute('select * from cargo where id = ?', [1]);
    await all();
    await database.query('alter table cargo add column weight integer');
    expect(await all()).toEqual([{ id: 1, name: 'rope', stowed_at: null, weight: null }]);
  });

  it('fail once for that in a transaction, which cannot go on', async () => {
    const inTransaction = () =>
      orm.em.fork().transactional((em) => em.execute('select * from cargo where id > ?', [2]));
    await inTransaction();
    await database.query('alter table cargo add column height integer');
    await expect(inTransaction()).rejects.toThrow(/cached plan must not change result type/);
    expect(await inTransaction()).toHaveLength(1);
  });

  it('are sent without waiting in a transaction, carried out in their order, and fail for what was wrong with the first', async () => {
    const transaction = (...statements: string[]) =>
      orm.em.fork().transactional((em) => answers(statements.map((sql) => em.execute<object[]>(sql, [4]))));
    const [, seen] = await transaction(
      `insert into cargo (id) select ? from pg_sleep(0.05)`,
      'select id from cargo where id = ?',
    );
    expect(seen).toEqual([{ id: 4 }]);
    await expect(
      transaction('insert into cargo (id) values (?)', `update cargo set name = 'moved' where id = ?`),
    ).rejects.toThrow(/duplicate key/);
    expect(await execute('select name from cargo where id = ?', [4])).toEqual([{ name: null }]);
  });

  it.each([
    ['committed', () => Promise.resolve()],
    ['rolled back', () => Promise.reject(new Error('on purpose'))],
  ])('are refused once their transaction was %s, whose connection is somebody else’s by then', async (_how, end) => {
    const em = orm.em.fork();
    let late: (() => Promise<unknown>) | undefined;
    const transaction = em.transactional((inner) => {
      late = () => inner.execute('select id from cargo where id = ?', [1]);
      return end();
    });
    await transaction.catch(() => undefined);
    await expect(late!()).rejects.toThrow(/transaction that has ended/);
  });

  describe('as the last of a transaction, sent with its commit,', () => {
    const last = (statement: string, value: unknown) =>
      orm.em.fork().transactional(async (em) => {
        em.getEventManager().registerSubscriber({
          beforeTransactionCommit({ transaction }) {
            sendWithCommit(em, statement, [value], transaction);
          },
        });
        await em.execute('update cargo set name = ? where id = 3', [value]);
      });
    const name = async () => (await database.query<{ name: string }>('select name from cargo where id = 3'))[0].name;

    it('are not waited for, and committed', async () => {
      const counts = await countSent(() => last('insert into cargo (id, name) values (30, ?)', 'anchor'));
      expect(counts).toEqual({ roundTrips: 2, statements: 2, commits: 1 });
      expect(await execute('select name from cargo where id = ?', [30])).toEqual([{ name: 'anchor' }]);
      expect(await name()).toBe('anchor');
    });

    it('fail the whole of it, with what was wrong with them', async () => {
      const failing = last('insert into cargo (id, name) values (1, ?)', 'buoy');
      await expect(failing).rejects.toMatchObject({ code: '23505', constraint: 'cargo_pkey' });
      await expect(failing).rejects.toBeInstanceOf(UniqueConstraintViolationException);
      expect(await name()).toBe('anchor');
      expect(await execute('select from cargo where name = ?', ['buoy'])).toEqual([]);
    });
  });

  it('that failed and were passed over do not let a transaction be taken for committed', async () => {
    const failing = orm.em.fork().transactional(async (em) => {
      await em.execute('insert into cargo (id) values (?)', [40]);
      await em.execute('select 1 / ?::integer', [0]).catch(() => undefined);
    });
    await expect(failing).rejects.toThrow('the transaction was rolled back');
    expect(await execute('select from cargo where id = ?', [40])).toEqual([]);
  });

  it('never get a plan that reads a table whole only because that is small now', async () => {
    await database.query('analyze cargo');
    const plan = await execute('explain select id from cargo where id = 1');
    expect(JSON.stringify(plan)).toContain('cargo_pkey');
  });
});
