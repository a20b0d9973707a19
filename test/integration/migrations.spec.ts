import { MikroORM, type EntityMetadata } from '@mikro-orm/postgresql';
import { readdirSync } from 'node:fs';
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
  'heartbeat_run_log_chunks', // bytes in bulk, written and read by statement
  'idempotency_keys', // written and read by statement, around the unit of work
  'instance', // one row about the database itself
  'lease_requests', // a queue, written and read by statement under its environment's lock
  'mikro_orm_migrations', // the migrator's own
  'runners', // each one's sign of life, written and read by statement
]);

/** Columns that their table's entity leaves out, and why. */
const UNMAPPED_COLUMNS = new Set([
  'activity_log.tx', // what the stream's cursor reads, by statement
  'agent_wakeup_requests.skipped_reason', // generated; what a unique index holds
  'agents.max_concurrent_runs', // generated; what the claim's gate reads
  'environment_leases.active_run_id', // generated; one side of "running exactly while leased"
  'environment_leases.holding_id', // generated; one side of "a place that has not gone is held"
  'environment_leases.lingering_id', // generated; one side of "held after its end only with a place"
  'environment_places.holding_lease_id', // generated; the other side of both
  'heartbeat_runs.held_lease_id', // generated; the other side
]);

/** How PostgreSQL spells the types that entities name by their short form. */
const SPELLING: Record<string, string> = {
  'timestamptz(3)': 'timestamp(3) with time zone',
  'varchar(255)': 'text',
  int: 'integer',
};

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
       where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped`,
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
        return { table: entity.tableName, name, type: SPELLING[type] ?? type, nullable: property.nullable === true };
      }),
    );
}
