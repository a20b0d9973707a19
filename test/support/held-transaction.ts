import { Client } from 'pg';
import type { TestDatabase } from './test-database.js';

/** A transaction of somebody else that has changed something and has not committed yet. */
export interface HeldTransaction {
  /** Resolves once another connection waits for it. */
  blocksSomebody(): Promise<void>;
  /** Runs another statement in it. */
  query(sql: string, parameters?: unknown[]): Promise<void>;
  commit(): Promise<void>;
}

/** Runs one statement in a transaction of its own, and leaves that open. */
export async function holdTransaction(
  database: TestDatabase,
  sql: string,
  parameters: unknown[] = [],
): Promise<HeldTransaction> {
  const client = new Client(database.url);
  await client.connect();
  await client.query('begin');
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  await client.query(sql, parameters);
  return {
    async blocksSomebody() {
      const waiting = 'select 1 from pg_stat_activity where $1 = any(pg_blocking_pids(pid))';
      while ((await database.query(waiting, [rows[0]?.pid])).length === 0);
    },
    async query(next, values = []) {
      await client.query(next, values);
    },
    async commit() {
      await client.query('commit');
      await client.end();
    },
  };
}
