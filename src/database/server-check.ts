import { Client } from 'pg';
import { StartupError } from '../config/startup-error.js';

const OLDEST = 15;
const NEWEST = 18;

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
    if (major >= OLDEST && major <= NEWEST) return;
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
