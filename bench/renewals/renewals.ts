import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { migrate } from '#berth/database/migrations.js';
import type { Benchmark, Check, Findings, Setting, Table } from '../benchmark.ts';
import { Cluster } from '../cluster.ts';
import { Meter, type Cost } from '../meter.ts';
import { makeHarbour } from './live-leases.ts';
import { onTheirPages } from './on-their-pages.ts';

const RUNNERS = 4;
const PERIOD_SEC = 20;
const RUNNER = path.resolve(import.meta.dirname, 'runner.ts');

export const renewals: Benchmark = {
  name: 'renewals',
  about:
    `10,000 live leases of ${RUNNERS} runner processes at the default TTL of 60 s: every ${PERIOD_SEC} s each runner ` +
    'renews its own with one statement, and every second it looks for runs that have to stop, and every process for ' +
    'leases that ran out. CPU is of the runners and PostgreSQL together; the same processes without leases are beside ' +
    'it. Then renewals one after the other, with what they leave in the table, as leases are stored and as they once were (docs/decisions/0014).',
  run,
};

async function run({ quick, say }: Setting): Promise<Findings> {
  await using cluster = await Cluster.start();
  await migrate(cluster.url);
  const client = new Client(cluster.url);
  await client.connect();
  await makeHarbour(client);
  const idle = await atRest(cluster, quick ? 2000 : 10_000, quick ? PERIOD_SEC : 2 * PERIOD_SEC, say);
  const pages = await onTheirPages(cluster, client, quick, say);
  await client.end();
  return { tables: [idle.table, pages], checks: idle.checks };
}

async function atRest(
  cluster: Cluster,
  leases: number,
  seconds: number,
  say: Setting['say'],
): Promise<{ table: Table; checks: Check[] }> {
  const runners = await Promise.all(Array.from({ length: RUNNERS }, () => startRunner(cluster)));
  try {
    const meter = new Meter(
      cluster.watcher,
      runners.map(({ pid }) => pid!),
    );
    await delay(5000);
    say(`${RUNNERS} runners without leases, ${PERIOD_SEC} s`);
    const without = await meter.during(() => delay(PERIOD_SEC * 1000));
    for (const runner of runners) {
      runner.send(leases / RUNNERS);
      await once(runner, 'message');
    }
    await cluster.watcher.query('vacuum analyze');
    await delay(PERIOD_SEC * 1000);
    say(`${leases} leases, ${seconds} s`);
    const holding = await meter.during(() => delay(seconds * 1000));
    const perStatement = await leasesPerStatement(cluster);
    const share = ({ serverCpuMs, postgresCpuMs }: Cost, sec: number) => (serverCpuMs + postgresCpuMs) / sec / 10;
    const row = (name: string, cost: Cost, sec: number) => [
      ...[name, share(cost, sec), cost.serverCpuMs / sec, cost.postgresCpuMs / sec],
      ...[cost.roundTrips / sec, (cost.walBytes + cost.fullPageBytes) / sec],
    ];
    const more = share(holding, seconds) - share(without, PERIOD_SEC);
    return {
      table: {
        title: `${RUNNERS} runners at rest`,
        columns: ['', '% of a core', 'runners CPU ms/s', 'PostgreSQL CPU ms/s', 'round-trips/s', 'WAL bytes/s'],
        rows: [row('without leases', without, PERIOD_SEC), row(`${leases} leases`, holding, seconds)],
      },
      checks: [
        { kind: 'gate', what: 'leases renewed by one statement', measured: perStatement, atLeast: leases / RUNNERS },
        { kind: 'goal', what: `% of a core for ${leases} leases`, measured: more, atMost: 2 },
      ],
    };
  } finally {
    for (const runner of runners) runner.kill('SIGKILL');
  }
}

async function startRunner({ home, url }: Cluster): Promise<ChildProcess> {
  const runner = fork(RUNNER, [home, url], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  await once(runner, 'message');
  return runner;
}

/** Of all renewals so far. A session reports what it has counted when it comes to rest: two looks have to agree. */
async function leasesPerStatement({ watcher }: Cluster): Promise<number> {
  for (let last = ''; ;) {
    const { rows } = await watcher.query<{ calls: string; leases: string }>(
      `select (select sum(calls) from pg_stat_statements where query like '%set last_used_at = clock_timestamp()%'
           and dbid = (select oid from pg_database where datname = current_database())) as calls,
         (select n_tup_upd from pg_stat_user_tables where relname = 'environment_leases') as leases`,
    );
    const [{ calls, leases }] = rows;
    if (`${calls} ${leases}` === last) return Number(leases) / Number(calls);
    last = `${calls} ${leases}`;
    await delay(1500);
  }
}
