import { MikroORM, type EntityMetadata } from '@mikro-orm/postgresql';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { connectionOptions } from '../../src/database/connection.js';
import { migrate, prepareDatabase } from '../../src/database/migrations.js';
import { ormOptions } from '../../src/mikro-orm.config.js';
import { StartupError } from '../../src/config/startup-error.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

interface Column {
  table: string;
  name: string;
  type: string;
  nullable: boolean;
}

/** Tables that no entity maps, and why. */
const UNMAPPED_TABLES = new Set([
  'activity_folds', // what removed entries said, written and read by statement
  'heartbeat_run_log_chunks', // bytes in bulk, written and read by statement
  'activity_rows', // the record, written by statement; read as `activity_log`
  'idempotency_keys', // written and read by statement, around the unit of work
  'instance', // one row about the database itself
  'lease_requests', // a queue, written and read by statement under its environment's lock
  'mikro_orm_migrations', // the migrator's own
  'secret_references', // who names which secret, written as a whole with whoever does
  'secret_versions', // ciphertext, written and read by statement
  'secrets_key', // one row about the key in use
  'retention_horizons', // how far back each company is complete, written and read by statement
  'retention_passes', // what came of removing, for each kind
  'runners', // each one's sign of life, written and read by statement
]);

/** Columns that their table's entity leaves out, and why. */
const UNMAPPED_COLUMNS = new Set([
  ...['tx', 'row_action', 'row_entity_type', 'entity_key'].map((name) => `activity_log.${name}`), // to look up by
  'agent_wakeup_requests.skipped_reason', // generated; what a unique index holds
  'agents.max_concurrent_runs', // generated; what the claim's gate reads
  'environment_leases.active_run_id', // generated; one side of "running exactly while leased"
  'environment_leases.holding_id', // generated; one side of "a place that has not gone is held"
  'environment_leases.lingering_id', // generated; one side of "held after its end only with a place"
  'environment_places.holding_lease_id', // generated; the other side of both
  'heartbeat_runs.held_lease_id', // generated; the other side
  'heartbeat_runs.sealed_values', // opened by the token that is shown, by statement
]);

/** Of which PostgreSQL does not say what may be null. */
const VIEWS = new Set(['activity_log']);

/** How PostgreSQL spells the types that entities name by their short form. */
const SPELLING: Record<string, string> = {
  'timestamptz(3)': 'timestamp(3) with time zone',
  'varchar(255)': 'text',
  int: 'integer',
  bigserial: 'bigint',
};

/** A run that is running under its lease, and one that has ended. */
const RUNS_BEFORE_0003 = `
  with ids as (select gen_random_uuid() c, gen_random_uuid() e, gen_random_uuid() a, gen_random_uuid() r,
    gen_random_uuid() ended, gen_random_uuid() l),
  c as (insert into companies (id, name, issue_prefix) select c, 'c', 'C' from ids),
  e as (insert into environments (id, company_id, name, driver) select e, c, 'e', 'local' from ids),
  a as (insert into agents (id, company_id, name, adapter_type) select a, c, 'a', 'process' from ids),
  w as (insert into agent_wakeup_requests (id, company_id, agent_id, run_id, source, status, requested_by_actor_type,
      requested_by_actor_id) select r, c, a, r, 'on_demand', 'claimed', 'user', 'u' from ids),
  r as (insert into heartbeat_runs (id, company_id, agent_id, wakeup_request_id, invocation_source, status, lease_id,
      runner_id, started_at) select r, c, a, r, 'on_demand', 'running', l, 'x', now() from ids),
  ended as (insert into heartbeat_runs (id, company_id, agent_id, invocation_source, status, finished_at)
    select ended, c, a, 'on_demand', 'succeeded', now() from ids),
  events as (insert into heartbeat_run_events (id, company_id, run_id, agent_id, event_type, payload, created_at)
    select gen_random_uuid(), c, ended, a, 'adapter.invoke',
      '{"command": "true", "adapterType": "process", "environment": "e"}'::jsonb, '2026-01-02T03:04:05.006Z'::timestamptz
    from ids)
  insert into environment_leases (id, company_id, environment_id, heartbeat_run_id, run_lease_id, holder, status, provider,
    acquired_at, last_used_at, expires_at, lifetime_ends_at)
  select l, c, e, r, l, 'run', 'active', 'local', now(), now(), now() + interval '1 min', now() + interval '1 day' from ids`;

describe('migrations', () => {
  let database: TestDatabase;

  beforeEach(async () => {
    database = await createTestDatabase(null);
  });
  afterEach(() => database.close());

  const executed = async () => (await database.query<{ name: string }>('select name from mikro_orm_migrations')).length;
  const files = readdirSync('migrations').filter((name) => name.endsWith('.sql'));

  it('run once, however many servers start at the same moment', async () => {
    await Promise.all([1, 2, 3, 4].map(() => migrate(database.url)));
    expect(await executed()).toBe(files.length);
    await migrate(database.url);
    expect(await executed()).toBe(files.length);
  });

  it('keep the runs of a former build, those that are running too', async () => {
    const apply = (name: string) => database.query(readFileSync(`migrations/${name}`, 'utf8'));
    await apply('0001_ground_floor.sql');
    await apply('0002_lease_engine.sql');
    await database.query(RUNS_BEFORE_0003);
    await apply('0003_lean_records.sql');
    const runs = await database.query(
      'select status, invocation, held_lease_id is not null as held from heartbeat_runs order by status',
    );
    const invocation = { command: 'true', adapterType: 'process', environment: 'e', at: '2026-01-02T03:04:05.006Z' };
    expect(runs).toEqual([
      { status: 'running', invocation: null, held: true },
      { status: 'succeeded', invocation, held: false },
    ]);
    // Run and lease still hold each other.
    const loseLease = `update environment_leases set status = 'released', released_at = now(), held_until = now()`;
    await expect(database.query(loseLease)).rejects.toThrow(/heartbeat_runs_running_has_active_lease/);
  });

  it('keep the answers to requests that were sent before keys were hashed', async () => {
    const key = 'a key – of a caller';
    for (const name of files.filter((file) => file < '0008').sort()) {
      await database.query(readFileSync(`migrations/${name}`, 'utf8'));
    }
    await database.query(
      `insert into idempotency_keys (id, actor, route, key, body_hash, status_code, answer)
       values (gen_random_uuid(), 'user:u', 'POST /x', $1, '', 201, '{}')`,
      [key],
    );
    await database.query(readFileSync('migrations/0008_sealed_values.sql', 'utf8'));
    const hash = createHash('sha256').update(key).digest('hex');
    expect(await database.query('select key from idempotency_keys')).toEqual([{ key: hash }]);
  });

  it('leave a database alone that a newer build has migrated', async () => {
    await migrate(database.url);
    await database.query(`insert into mikro_orm_migrations (name) values ('9999_from_the_future')`);
    await expect(migrate(database.url)).rejects.toThrow(/newer Berth: this one does not know 9999_from_the_future/);
  });

  describe('by a role that owns the schema and may create nothing in the database', () => {
    const role = 'test_without_rights';
    const asRole = () => {
      const url = new URL(database.url);
      url.username = role;
      return url.href;
    };

    beforeEach(async () => {
      await database.query(`create role ${role} login`);
      await database.query(`alter schema public owner to ${role}`);
    });
    afterEach(async () => {
      await database.query(`drop owned by ${role} cascade`);
      await database.query(`drop role ${role}`);
    });

    it('are not begun without the extension that they need: a sentence says what to do', async () => {
      await expect(prepareDatabase(asRole())).rejects.toThrow(
        new StartupError(
          `The database "${new URL(database.url).pathname.slice(1)}" lacks the extension btree_gist, and the role ` +
            `"${role}" may not create it. Let a superuser execute there, once: create extension btree_gist`,
        ),
      );
      expect(await database.query(`select to_regclass('mikro_orm_migrations') as made`)).toEqual([{ made: null }]);
    });

    it('run once a superuser has created the extension', async () => {
      await database.query('create extension btree_gist');
      await prepareDatabase(asRole());
      expect(await executed()).toBe(files.length);
    });
  });

  it('make exactly the columns that the entities map', async () => {
    await migrate(database.url);
    const inDatabase = await database.query<Column>(
      `select c.relname as table, a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
              not a.attnotnull as nullable
       from pg_attribute a join pg_class c on c.oid = a.attrelid
       where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v') and a.attnum > 0 and not a.attisdropped`,
    );
    const orm = await MikroORM.init(ormOptions(connectionOptions(database.url, 'drift-test')));
    const mapped = [...orm.getMetadata().getAll().values()].flatMap(columnsOf);
    await orm.close();

    const isMapped = ({ table, name }: Column) =>
      !UNMAPPED_TABLES.has(table) && !UNMAPPED_COLUMNS.has(`${table}.${name}`);
    expect(lines(mapped)).toEqual(lines(inDatabase.filter(isMapped)));
  });
});

const lines = (columns: Column[]) =>
  columns.map(({ table, name, type, nullable }) => `${table}.${name} ${type}${nullable ? ' null' : ''}`).sort();

function columnsOf(entity: EntityMetadata): Column[] {
  return entity.props
    .filter((property) => property.persist !== false && property.fieldNames.length > 0)
    .flatMap((property) =>
      property.fieldNames.map((name, index) => {
        const type = property.columnTypes[index] ?? '';
        const table = entity.tableName;
        return { table, name, type: SPELLING[type] ?? type, nullable: VIEWS.has(table) || property.nullable === true };
      }),
    );
}
