import { Client } from 'pg';
import { StartupError } from '../config/startup-error.js';

const OLDEST = 15;
const NEWEST = 18;
const EXTENSION = 'btree_gist';

/**
 * Makes sure that a PostgreSQL answers there which Berth is made for.
 * @throws StartupError when not; the address is named without its password.
 */
export async function checkServer(databaseUrl: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl, connectionTimeoutMillis: 10_000 });
  client.on('error', () => undefined);
  const where = `${client.host}, port ${client.port}`;
  try {
    await client.connect();
    const { rows } = await client.query<{ number: number }>(
      `select current_setting('server_version_num')::int as number`,
    );
    const major = Math.trunc((rows[0]?.number ?? 0) / 10_000);
    if (major >= OLDEST && major <= NEWEST) return await checkExtension(client);
    throw new StartupError(
      `The database at ${where} is PostgreSQL ${major}, and Berth needs ${OLDEST} to ${NEWEST}. Point ` +
        'BERTH_DATABASE_URL to such a server, or leave it out to use the PostgreSQL that comes with Berth.',
    );
  } catch (error) {
    if (error instanceof StartupError) throw error;
    throw new StartupError(
      `The database "${client.database}" at ${where} cannot be used: ${reason(error)}. Check BERTH_DATABASE_URL, or leave ` +
        'it out to use the PostgreSQL that comes with Berth.',
    );
  } finally {
    await client.end().catch(() => undefined);
  }
}

/**
 * The schema needs an extension. PostgreSQL trusts whoever may create things in the database with it, and nobody else.
 * @throws StartupError when it is not there and this role cannot make it.
 */
async function checkExtension(client: Client): Promise<void> {
  const { rows } = await client.query<{ installed: boolean; available: boolean; creatable: boolean; role: string }>(
    `select exists (select from pg_extension where extname = $1) as installed,
       exists (select from pg_available_extensions where name = $1) as available,
       has_database_privilege(current_database(), 'create') as creatable, current_user as role`,
    [EXTENSION],
  );
  const { installed, available, creatable, role } = rows[0];
  if (installed || (available && creatable)) return;
  throw new StartupError(
    available
      ? `The database "${client.database}" lacks the extension ${EXTENSION}, and the role "${role}" may not create it. Let ` +
          `a superuser execute there, once: create extension ${EXTENSION}`
      : `The PostgreSQL at ${client.host}, port ${client.port} comes without the extension ${EXTENSION}. Install its ` +
          'contrib modules (the package is often called postgresql-contrib), or leave out BERTH_DATABASE_URL to use the ' +
          'PostgreSQL that comes with Berth.',
  );
}

function reason(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string };
  switch (code) {
    case 'ECONNREFUSED':
    case 'ENOENT':
      return 'nothing listens there';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'its host name is not known';
    default:
      return message || String(code ?? error);
  }
}
