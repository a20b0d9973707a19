import type { Options } from '@mikro-orm/postgresql';
import { Client } from 'pg';
import { PooledClient } from './pooled-client.js';
import { BindingDriver } from './prepared-statements.js';

/** How long to wait for a connection, new or from the pool, before the database counts as out of reach. */
const CONNECT_MS = 10_000;
/**
 * A prepared statement keeps its plan while its tables grow: one that was made when they were small must not read them
 * whole, neither to look for rows nor to join them. Every statement has an index for each table that it looks into, and is
 * planned once: none is better off with a plan for its values.
 */
const SETTINGS = ['seqscan', 'hashjoin', 'mergejoin']
  .map((way) => `-c enable_${way}=off`)
  .concat('-c plan_cache_mode=force_generic_plan', '-c jit=off')
  .join(' ');
/** A transaction that a bug leaves open holds locks, and holds up every stream's reader. */
const IDLE_IN_TRANSACTION_MS = 60_000;

/**
 * How this process connects.
 * @param application what the sessions call themselves in `pg_stat_activity`.
 * @param poolSize most connections at once.
 * @param unansweredMs after how long without an answer a connection is given up, in milliseconds; never unless given.
 */
export function connectionOptions(
  databaseUrl: string,
  application: string,
  poolSize = 4,
  unansweredMs?: number,
): Options {
  return {
    driver: BindingDriver,
    dbName: new Client(databaseUrl).database ?? 'postgres',
    pool: { min: 0, max: poolSize },
    driverOptions: {
      // The whole address, because a socket directory and TLS settings are said in its query.
      connectionString: databaseUrl,
      Client: PooledClient,
      // What begins a transaction is sent together with its first statement.
      pipeline: true,
      application_name: application,
      options: SETTINGS,
      connectionTimeoutMillis: CONNECT_MS,
      unansweredMs,
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
      keepAlive: true,
      keepAliveInitialDelayMillis: CONNECT_MS,
    },
  };
}
