import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { EmbeddedPostgres } from '../../src/database/embedded/embedded-postgres.js';
import { migrate } from '../../src/database/migrations.js';

/** Where suites find the cluster: the address of its database `postgres`. */
export const CLUSTER_VARIABLE = 'TEST_CLUSTER_URL';
/** The migrated database that suites copy. */
export const TEMPLATE = 'berth_template';

/** Starts the cluster of a test run: the same PostgreSQL as in production, except that it forgets after a crash. */
export async function startTestCluster(): Promise<{ stop(): Promise<void> }> {
  const home = await mkdtemp(path.join(tmpdir(), 'berth-test-'));
  const settings = { fsync: 'off', synchronous_commit: 'on', full_page_writes: 'off', max_connections: '300' };
  const server = await EmbeddedPostgres.start(home, { settings });
  await migrate(await server.ensureDatabase(TEMPLATE));
  process.env[CLUSTER_VARIABLE] = server.url('postgres');
  return {
    async stop() {
      await server.stop();
      await rm(home, { recursive: true, force: true });
    },
  };
}
