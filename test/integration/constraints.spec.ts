import { Client } from 'pg';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import {
  copyLease,
  INVARIANTS,
  RECORD,
  STATES,
  TENANTS,
  VALUES,
  WITHOUT_CASE,
  type ConstraintCase,
} from './constraint-cases.js';

const EVERY_CASE = [...INVARIANTS, ...STATES, ...VALUES, ...TENANTS];

describe('the schema', () => {
  let database: TestDatabase;
  let client: Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    client = new Client(database.url);
    await client.connect();
    await client.query(RECORD);
  });
  afterEach(() => client.query('rollback'));
  afterAll(async () => {
    await client.end();
    await database.close();
  });

  /** Takes a constraint, or the unique index or trigger that stands for one, out of the current transaction's schema. */
  const drop = async (name: string) => {
    const { rows } = await client.query<{ statement: string }>(
      `select format('alter table %s drop constraint %I', conrelid::regclass, conname) as statement
       from pg_constraint where conname = $1 and contype <> 't'
       union all
       select format('drop trigger %I on %s', tgname, tgrelid::regclass) from pg_trigger where tgname = $1`,
      [name],
    );
    await client.query(rows[0]?.statement ?? `drop index ${name}`);
  };

  /** Refused up to the commit by the constraint, and by nothing else: without it the same is accepted. */
  const provesConstraint = async (_what: string, constraint: string, statement: string) => {
    await client.query('begin');
    const violation = client.query(statement).then(() => client.query('commit'));
    await expect(violation).rejects.toMatchObject({ constraint });
    await client.query('rollback');

    await client.query('begin');
    await drop(constraint);
    expect((await client.query(statement)).rowCount).toBeGreaterThan(0);
    await client.query('set constraints all immediate');
  };

  describe.each<[string, ConstraintCase[]]>([
    ['what must be impossible', INVARIANTS],
    ['a state without its time or reason', STATES],
    ['a value that means nothing', VALUES],
    ['a reference out of its company', TENANTS],
  ])('refuses %s', (_group, cases) => {
    it.each(cases)('%s (%s)', provesConstraint);
  });

  it('refuses a lease that never expires', async () => {
    const forEver = `update environment_leases set expires_at = null where id = id('active')`;
    await expect(client.query(forEver)).rejects.toMatchObject({ code: '23502', column: 'expires_at' });
  });

  it('gives fencing tokens itself: no statement can say which', async () => {
    const twice = copyLease('fencing_token', `(select fencing_token from environment_leases where id = id('active'))`);
    await expect(client.query(twice)).rejects.toMatchObject({ code: '428C9' });
    const again = `update environment_leases set fencing_token = 1 where id = id('active')`;
    await expect(client.query(again)).rejects.toMatchObject({ code: '428C9' });
  });

  it('lets run and lease change together in one transaction, in either order', async () => {
    const ends = [
      `update heartbeat_runs set status = 'succeeded', finished_at = now() where id = id('running')`,
      `update environment_leases set status = 'released', released_at = now(), held_until = now() where id = id('active')`,
    ];
    for (const statements of [ends, ends.toReversed()]) {
      await client.query('begin');
      for (const statement of statements) await client.query(statement);
      await client.query('set constraints all immediate');
      await client.query('rollback');
    }
  });

  it('lets a later run on an issue begin when the earlier one has ended', async () => {
    await client.query('begin');
    await client.query(`update heartbeat_runs set status = 'cancelled', finished_at = now() where id = id('queued')`);
    const [, , again] = INVARIANTS[0];
    expect((await client.query(again)).rowCount).toBe(1);
  });

  it('has a case here for each of its constraints', async () => {
    const { rows } = await client.query<{ name: string }>(
      `select conname as name from pg_constraint
       where connamespace = 'public'::regnamespace and contype in ('c', 'f', 'u', 'x') and conrelid <> 0
         and conrelid <> coalesce(to_regclass('mikro_orm_migrations'), 0)
       union
       select indexrelid::regclass::text from pg_index join pg_class on pg_class.oid = indrelid
       where relnamespace = 'public'::regnamespace and indisunique and not indisprimary
       union
       select tgname from pg_trigger where not tgisinternal`,
    );
    const known = new Set([...EVERY_CASE.map(([, constraint]) => constraint), ...Object.keys(WITHOUT_CASE)]);
    expect(rows.map(({ name }) => name).toSorted()).toEqual([...known].toSorted());
  });

  it('finds what refers to a row by an index, for every foreign key', async () => {
    // An index serves when it begins with columns of the key, among them the one that names the row: the parent's id.
    const { rows } = await client.query<{ conname: string }>(
      `select c.conname from pg_constraint c
       where c.contype = 'f' and c.connamespace = 'public'::regnamespace and not exists (
         select 1 from pg_index i
         cross join lateral (
           select coalesce(min(k.n) filter (where not k.attnum = any(c.conkey)), i.indnkeyatts + 1) - 1 as length
           from unnest(i.indkey::smallint[]) with ordinality as k (attnum, n) where k.n <= i.indnkeyatts) prefix
         where i.indrelid = c.conrelid and i.indisvalid and exists (
           select 1 from unnest(c.conkey, c.confkey) as pair (child, parent)
           join pg_attribute a on a.attrelid = c.confrelid and a.attnum = pair.parent and a.attname = 'id'
           where pair.child = any((i.indkey::smallint[])[0:prefix.length - 1])
             and (i.indpred is null or pg_get_expr(i.indpred, i.indrelid) = format('(%I IS NOT NULL)',
               (select attname from pg_attribute where attrelid = i.indrelid and attnum = pair.child)))))`,
    );
    // Agents and environments are marked as deleted, never removed.
    const names = rows.map(({ conname }) => conname).toSorted();
    expect(names).toEqual([
      'agent_wakeup_requests_agent_fk',
      'environment_leases_environment_fk',
      'heartbeat_runs_agent_fk',
    ]);
  });
});
