import { Client } from 'pg';
import { bootstrap } from '#berth/bootstrap.js';
import { loadConfig } from '#berth/config/load-config.js';
import { ReapLeases } from '#berth/heartbeat/ending/reap-leases.js';
import { Reaper } from '#berth/heartbeat/ending/reaper.js';
import type { Benchmark, Findings, Setting } from '../benchmark.ts';
import { Cluster } from '../cluster.ts';
import { Meter, type Cost } from '../meter.ts';
import { makeHarbour, makeLiveLeases } from '../renewals/live-leases.ts';
import { median } from '../rounds.ts';

const LIVE = 100_000;
const EXPIRED = 10_000;
const LOOKS = 20;

export const reaper: Benchmark = {
  name: 'reaper',
  about:
    `What a look for leases that have run out takes while ${LIVE} are live and none has, and what it takes to end ` +
    `${EXPIRED} of them with their runs, in one process that does nothing else.`,
  run,
};

async function run({ quick, say }: Setting): Promise<Findings> {
  const [live, expired] = quick ? [LIVE / 10, EXPIRED / 10] : [LIVE, EXPIRED];
  await using cluster = await Cluster.start();
  const defaults = loadConfig({ BERTH_LOG_LEVEL: 'error', BERTH_PORT: '0' }, cluster.home);
  const app = await bootstrap(defaults.with({ databaseUrl: cluster.url, roles: new Set(['api']) }));
  await app.get(Reaper, { strict: false }).beforeApplicationShutdown();
  const client = new Client(cluster.url);
  client.on('error', () => undefined);
  await client.connect();
  await makeHarbour(client);
  await makeLiveLeases(client, live, ['1', '2', '3', '4']);
  await client.query(`update environment_leases set expires_at = acquired_at + interval '1 hour'`);
  await client.query('vacuum analyze');
  const reaps = app.get(ReapLeases, { strict: false });
  const meter = new Meter(cluster.watcher, [process.pid]);
  say(`${LOOKS} looks at ${live} live leases`);
  const took: number[] = [];
  const look = await meter.during(async () => {
    for (let time = 0; time < LOOKS; time++) took.push(await timed(() => reaps.reap()));
  });
  await client.query(
    `update environment_leases set expires_at = acquired_at + interval '1 ms'
     where id in (select id from environment_leases order by hashtext(id::text) limit $1)`,
    [expired],
  );
  say(`reaping ${expired} leases`);
  let [reaped, seconds] = [0, 0];
  const reap = await meter.during(async () => {
    for (let count = 1; count > 0; reaped += count)
      seconds += (await timed(async () => (count = await reaps.reap()))) / 1000;
  });
  await client.end();
  await app.close();
  const row = (name: string, cost: Cost, count: number, ms: number) => [
    ...[name, ms, cost.serverCpuMs / count, cost.postgresCpuMs / count, cost.roundTrips / count],
    ...[cost.commits / count, cost.walBytes / count],
  ];
  return {
    tables: [
      {
        title: 'For one',
        columns: ['', 'ms', 'server CPU ms', 'PostgreSQL CPU ms', 'round-trips', 'commits', 'WAL bytes'],
        rows: [
          row(`look at ${live} live leases`, look, LOOKS, median(took)),
          row(`lease of ${expired} that are reaped`, reap, reaped, (seconds * 1000) / reaped),
        ],
      },
    ],
    checks: [
      { kind: 'gate', what: 'leases that were reaped', measured: reaped, atLeast: expired, atMost: expired },
      { kind: 'goal', what: `${expired} leases reaped, seconds`, measured: seconds, atMost: 10 },
    ],
  };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begunAt = performance.now();
  await work();
  return performance.now() - begunAt;
}
