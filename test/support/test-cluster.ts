import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { EmbeddedPostgres } from '../../src/database/embedded/embedded-postgres.js';
import { migrate } from '../../src/database/migrations.js';

/** Where suites find the cluster: the address of its database `postgres`. */
export const CLUSTER_VARIABLE = 'TEST_CLUSTER_URL';
/** The migrated database that suites copy. */
export const TEMPLATE = 'berth_template';

interface TestCluster {
  /** The address of its database `postgres`. */
  readonly url: string;
  stop(): Promise<void>;
}

/**
 * Starts the cluster of a test run, with the template in it. TEST_DATABASE_URL, the address of a superuser's `postgres`
 * database, makes the tests use that server instead: another version, for example.
 */
export async function startTestCluster(): Promise<TestCluster> {
  const folder = await mkdtemp(path.join(tmpdir(), 'berth-test-'));
  await chmod(folder, 0o755);
  // Whatever the tests leave among the temporary files goes with the run.
  process.env.TMPDIR = folder;
  const given = process.env.TEST_DATABASE_URL;
  const cluster = given ? { url: given, stop: async () => undefined } : await startOwn(path.join(folder, 'cluster'));
  const client = new Client(cluster.url);
  await client.connect();
  await client.query(`drop database if exists ${TEMPLATE}`);
  await client.query(`create database ${TEMPLATE} template template0`);
  await client.end();
  const template = new URL(cluster.url);
  template.pathname = `/${TEMPLATE}`;
  await migrate(template.href);
  process.env[CLUSTER_VARIABLE] = cluster.url;
  return {
    url: cluster.url,
    async stop() {
      await cluster.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The same PostgreSQL as in production, except that it forgets after a crash. */
async function startOwn(home: string): Promise<TestCluster> {
  const settings = { fsync: 'off', full_page_writes: 'off', max_connections: '300' };
  const server = await EmbeddedPostgres.start(home, { settings });
  return { url: server.url('postgres'), stop: () => server.stop() };
}
