import { readdirSync, readFileSync } from 'node:fs';
import { Migration, Migrator } from '@mikro-orm/migrations';
import { MikroORM } from '@mikro-orm/postgresql';
import { Client } from 'pg';
import { StartupError } from '../config/startup-error.js';
import { connectionOptions } from './connection.js';
import { checkServer } from './server-check.js';

/** Plain SQL files, in the order of their names: what they say is the schema. */
const DIRECTORY = new URL('../../migrations/', import.meta.url);
/** Any constant: what servers that start at once queue for. */
const LOCK = 0x6265_7274;
const UNDEFINED_TABLE = '42P01';

/**
 * Makes sure that the database can be used, and has the schema of this build.
 * @throws StartupError when it cannot be.
 */
export async function prepareDatabase(databaseUrl: string): Promise<void> {
  await checkServer(databaseUrl);
  if (!(await hasSchema(databaseUrl))) await migrate(databaseUrl);
}

/**
 * Brings the database to the schema of this build, all or nothing; servers that start at once migrate once.
 * @throws StartupError when the database already has a migration that this build does not know.
 */
export async function migrate(databaseUrl: string): Promise<void> {
  const known = migrationsList();
  const orm = await MikroORM.init({
    ...connectionOptions(databaseUrl, 'berth-migrations'),
    entities: [],
    extensions: [Migrator],
    migrations: { migrationsList: known, snapshot: false, silent: true, disableForeignKeys: false },
    discovery: { warnWhenNoEntities: false },
    ensureDatabase: false,
  });
  try {
    await orm.em.transactional(async (em) => {
      await em.execute('select pg_advisory_xact_lock(?)', [LOCK]);
      await refuseUnknown(em.execute.bind(em), known);
      const transaction = em.getTransactionContext<object>();
      await orm.migrator.up({ transaction });
    });
  } finally {
    await orm.close();
  }
}

/**
 * Makes sure that a database has the schema of this build, and changes nothing.
 * @throws StartupError when it has another one.
 */
export async function requireSchema(databaseUrl: string): Promise<void> {
  if (await hasSchema(databaseUrl)) return;
  throw new StartupError('The database has the schema of another version of Berth: start this version on it first.');
}

async function hasSchema(databaseUrl: string): Promise<boolean> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ name: string }>(`select name from mikro_orm_migrations order by name`);
    const known = migrationsList().map(({ name }) => name);
    return known.join() === rows.map(({ name }) => name).join();
  } catch (error) {
    if ((error as { code?: unknown }).code === UNDEFINED_TABLE) return false;
    throw error;
  } finally {
    await client.end();
  }
}

function migrationsList() {
  const files = readdirSync(DIRECTORY).filter((name) => name.endsWith('.sql'));
  return files.sort().map((file) => ({
    name: file.replace(/\.sql$/, ''),
    class: class extends Migration {
      override up() {
        this.addSql(readFileSync(new URL(file, DIRECTORY), 'utf8'));
      }
    },
  }));
}

async function refuseUnknown(
  execute: (sql: string) => Promise<{ name: string }[]>,
  known: { name: string }[],
): Promise<void> {
  const [table] = await execute(`select 'table' as name where to_regclass('mikro_orm_migrations') is not null`);
  if (!table) return;
  const names = new Set(known.map(({ name }) => name));
  const unknown = (await execute('select name from mikro_orm_migrations order by id')).filter(
    ({ name }) => !names.has(name),
  );
  if (unknown.length === 0) return;
  throw new StartupError(
    `The database was migrated by a newer Berth: this one does not know ${unknown.map(({ name }) => name).join(', ')}. ` +
      'Start that version, or point BERTH_DATABASE_URL to another database.',
  );
}
