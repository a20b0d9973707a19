import { bootstrap } from '#berth/bootstrap.js';
import { loadConfig } from '#berth/config/load-config.js';
import { Reaper } from '#berth/heartbeat/ending/reaper.js';
import { RenewLeases, type HeldLease } from '#berth/leases/renew-leases.js';
import type { Client } from 'pg';
import type { Setting, Table } from '../benchmark.ts';
import type { Cluster } from '../cluster.ts';
import { Meter } from '../meter.ts';
import { endMost, makeHarbour, makeLiveLeases } from './live-leases.ts';

const LEASES = 10_000;
const RUNNERS = ['1', '2', '3', '4'];
/** Longer than this takes: nothing expires meanwhile. */
const TTL_SEC = 3600;
/** As many rounds as there are in the time between two checkpoints. */
const ROUNDS_PER_CHECKPOINT = 15;
/** How many renewals each way is tried with; more of them settle better. */
const RENEWALS = Number(process.env.BENCH_RENEWALS ?? 100_000);

interface Way {
  readonly fillfactor: number;
  /** Whether an index knows when leases expire. */
  readonly index: boolean;
}

const WAYS: readonly Way[] = [
  { fillfactor: 70, index: false },
  { fillfactor: 100, index: true },
];

/** What a million renewals write and leave behind, by how leases are stored; the first way is ours. */
export async function onTheirPages(
  cluster: Cluster,
  client: Client,
  quick: boolean,
  say: Setting['say'],
): Promise<Table> {
  const defaults = loadConfig({ BERTH_LOG_LEVEL: 'error', BERTH_PORT: '0' }, cluster.home);
  const app = await bootstrap(defaults.with({ databaseUrl: cluster.url, roles: new Set(['api']) }));
  await app.get(Reaper, { strict: false }).beforeApplicationShutdown();
  // Here twenty seconds pass in about one.
  await cluster.watcher.query(`alter system set autovacuum_naptime = '3 s'`);
  await cluster.watcher.query('select pg_reload_conf()');
  const rows: Table['rows'][number][] = [];
  for (const way of quick ? WAYS.slice(0, 1) : WAYS) {
    say(`${RENEWALS} renewals, fillfactor ${way.fillfactor}, ${way.index ? 'an' : 'no'} index of expiry`);
    await store(client, way);
    rows.push(await measured(cluster, client, way, app.get(RenewLeases, { strict: false })));
  }
  await app.close();
  return {
    title: `A million renewals of ${LEASES} leases, of which each shares its page with some that have ended`,
    columns: [
      ...['fillfactor', 'index of expiry', 'on their page %', 'WAL MB', 'full pages MB', 'PostgreSQL CPU s'],
      ...['dead tuples at the end', 'autovacuums', 'table MB before', 'after', 'indexes MB before', 'after'],
    ],
    rows,
  };
}

async function store(client: Client, { fillfactor, index }: Way): Promise<void> {
  await client.query(`alter table environment_leases set (fillfactor = ${fillfactor})`);
  await client.query('drop index if exists environment_leases_expiry');
  if (index)
    await client.query(
      `create index environment_leases_expiry on environment_leases (expires_at) where status = 'active'`,
    );
  await makeHarbour(client);
  await makeLiveLeases(client, LEASES * 4, RUNNERS);
  await endMost(client);
}

async function measured(
  cluster: Cluster,
  client: Client,
  { fillfactor, index }: Way,
  leases: RenewLeases,
): Promise<Table['rows'][number]> {
  const { rows } = await client.query<HeldLease & { runner: string }>(
    `select id, fencing_token as "fencingToken", runner_id as runner from environment_leases where status = 'active'`,
  );
  const batches = RUNNERS.map((runner) => rows.filter((row) => row.runner === runner));
  await cluster.watcher.query('checkpoint');
  const before = await table(client);
  const meter = new Meter(cluster.watcher, []);
  const cost = await meter.during(async () => {
    for (let round = 1; round * rows.length <= RENEWALS; round++) {
      for (const batch of batches) await leases.renew(batch, TTL_SEC);
      if (round % ROUNDS_PER_CHECKPOINT === 0) await cluster.watcher.query('checkpoint');
    }
  });
  const after = await table(client);
  const updated = after.updated - before.updated;
  const millions = updated / 1e6;
  return [
    ...[fillfactor, index ? 'yes' : 'no', (100 * (after.onPage - before.onPage)) / updated],
    ...[cost.walBytes / 1e6 / millions, cost.fullPageBytes / 1e6 / millions, cost.postgresCpuMs / 1000 / millions],
    ...[after.dead, after.vacuums - before.vacuums, before.table, after.table, before.indexes, after.indexes],
  ];
}

type Size = Record<'updated' | 'onPage' | 'dead' | 'vacuums' | 'table' | 'indexes', number>;

async function table(client: Client): Promise<Size> {
  // A session reports what it has counted a second later at most.
  await client.query('select pg_sleep(1.5)');
  const { rows } = await client.query<Size>(
    `select n_tup_upd::float8 as updated, n_tup_hot_upd::float8 as "onPage", n_dead_tup::float8 as dead,
       autovacuum_count::float8 as vacuums, pg_table_size(relid) / 1e6::float8 as table,
       pg_indexes_size(relid) / 1e6::float8 as indexes
     from pg_stat_user_tables where relname = 'environment_leases'`,
  );
  return rows[0];
}
