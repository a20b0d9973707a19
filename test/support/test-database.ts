import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { CLUSTER_VARIABLE, TEMPLATE } from './test-cluster.js';

/** A migrated database of a suite's own. */
export interface TestDatabase {
  readonly url: string;
  /** Runs one statement on a connection of its own and answers its rows. */
  query<Row extends object = Record<string, unknown>>(sql: string, parameters?: unknown[]): Promise<Row[]>;
  /** Removes it, whoever is still connected. */
  close(): Promise<void>;
}

/** @param template null for an empty database, that has no tables yet. */
export async function createTestDatabase(template: string | null = TEMPLATE): Promise<TestDatabase> {
  const cluster = process.env[CLUSTER_VARIABLE];
  if (!cluster) throw new Error('The test cluster is not running: start the tests with `npm test`');
  const name = `test_${randomBytes(6).toString('hex')}`;
  const address = new URL(cluster);
  address.pathname = `/${name}`;
  await query(cluster, `create database ${name} template ${template ?? 'template0'}`);
  return {
    url: address.href,
    query: (sql, parameters) => query(address.href, sql, parameters),
    close: async () => void (await query(cluster, `drop database if exists ${name} with (force)`)),
  };
}

async function query<Row extends object>(url: string, sql: string, parameters: unknown[] = []): Promise<Row[]> {
  const client = new Client(url);
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<Row>(sql, parameters)).rows;
  } finally {
    await client.end();
  }
}
