import { stat } from 'node:fs/promises';
import path from 'node:path';
import type { BerthConfig } from './config/config.js';
import { StartupError } from './config/startup-error.js';
import { EmbeddedPostgres } from './database/embedded/embedded-postgres.js';
import { lockHome } from './database/home-lock.js';

/** A database for a command that is no server. */
export interface OfflineDatabase {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * The database that Berth has here, whether it runs or not; what was stopped is stopped again.
 * @throws StartupError where there is none.
 */
export async function openDatabase({ databaseUrl, home }: BerthConfig): Promise<OfflineDatabase> {
  const running = databaseUrl ?? (await EmbeddedPostgres.find(home, 'berth'));
  if (running !== null) return { url: running, close: () => Promise.resolve() };
  const isThere = await stat(path.join(home, 'postgres')).catch(() => null);
  if (!isThere) {
    throw new StartupError(
      `There is no database in ${home}. Set BERTH_HOME or BERTH_DATABASE_URL as for Berth itself.`,
    );
  }
  const unlock = await lockHome(home);
  const postgres = await EmbeddedPostgres.start(home);
  return { url: postgres.url('berth'), close: () => postgres.stop().then(unlock) };
}
