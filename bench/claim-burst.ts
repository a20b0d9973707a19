import type { Benchmark, Findings, Setting } from './benchmark.ts';
import { Cluster } from './cluster.ts';
import { startedOf } from './heartbeat/start-latency.ts';
import { Servers } from './heartbeat/servers.ts';
import { TELLS_TIME, Workload } from './heartbeat/workload.ts';
import { spawnBurst } from './heartbeat/spawn-floor.ts';
import { interleave, percentile, slowdown, usual, type Round } from './rounds.ts';

const BURST = 300;
/** With the default cap of five runs each. */
const BURST_AGENTS = BURST / 5;
const SLOTS = 10;
const CONTENDERS = 1000;
const TURNS = 2;

export const claimBurst: Benchmark = {
  name: 'claim-burst',
  about:
    `${BURST} wakes sent at once to ${BURST_AGENTS} agents, in an environment of capacity ${BURST}, one server process with ` +
    `\`BERTH_RUNNER_SLOTS=${BURST}\`: from before each wake was sent to the time that its process itself read. Floor: as many processes spawned at once ` +
    `by a small Node program. Then ` +
    `${CONTENDERS} agents who want ${SLOTS} slots, ${TURNS} runs of \`/bin/true\` each, all of which wait when the first ` +
    'may start: from when a slot was free to its next lease, by the record, and whether anybody had a second turn before ' +
    'everybody had a first.',
  run,
};

async function run(setting: Setting): Promise<Findings> {
  await using cluster = await Cluster.start();
  const { berth, floor } = await burst(cluster, setting);
  const { handOver, early, seconds, contenders } = await contention(cluster, setting);
  const quantiles = [50, 90, 99, 100];
  const of = (values: number[], percent: number) => percentile([{ latencies: values }], percent);
  return {
    tables: [
      {
        title: `${BURST} wakes at once, wake to process start, in ms: the median of rounds`,
        columns: ['', 'rounds', 'p50', 'p90', 'p99', 'p90, times the floor’s'],
        rows: [
          ['floor: spawn', floor.length, ...[50, 90, 99].map((percent) => usual(floor, percent)), null],
          [
            ...['Berth', berth.length, ...[50, 90, 99].map((percent) => usual(berth, percent))],
            slowdown(berth, floor, 90),
          ],
        ],
      },
      {
        title: `${contenders} agents for ${SLOTS} slots, from a free slot to its next lease, in ms`,
        columns: ['hand-overs', 'p50', 'p90', 'p99', 'slowest', 'runs a second'],
        rows: [[handOver.length, ...quantiles.map((percent) => of(handOver, percent)), (contenders * TURNS) / seconds]],
      },
    ],
    checks: [
      { kind: 'gate', what: 'second turns before everybody had a first', measured: early, atMost: 0 },
      { kind: 'goal', what: 'burst: wake to process start, p50 ms', measured: usual(berth, 50), atMost: 1000 },
      { kind: 'goal', what: 'burst: wake to process start, p90 ms', measured: usual(berth, 90), atMost: 1000 },
      { kind: 'goal', what: 'burst: wake to process start, p99 ms', measured: usual(berth, 99), atMost: 5000 },
    ],
  };
}

async function burst(cluster: Cluster, { quick, say }: Setting): Promise<Record<'floor' | 'berth', Round[]>> {
  say(`${BURST} wakes`);
  await using servers = await Servers.start(cluster, 0, { BERTH_RUNNER_SLOTS: String(BURST) });
  using workload = await Workload.prepare(servers.url, cluster.watcher, BURST_AGENTS, TELLS_TIME);
  await workload.limit(BURST);
  const round = (latencies: number[]): Round => ({
    operations: BURST,
    seconds: Math.max(...latencies) / 1000,
    latencies,
  });
  return await interleave(quick ? 1 : 5, {
    floor: async () => round(await spawnBurst(BURST)),
    berth: async () => {
      const started = await startedOf(cluster, await workload.together(BURST));
      return round(started.map(({ sinceWoken }) => sinceWoken));
    },
  });
}

async function contention(cluster: Cluster, { quick, say }: Setting) {
  const contenders = quick ? CONTENDERS / 10 : CONTENDERS;
  say(`${contenders} agents`);
  await using servers = await Servers.start(cluster, 0, { BERTH_RUNNER_SLOTS: String(SLOTS) });
  using workload = await Workload.prepare(servers.url, cluster.watcher, contenders, {
    adapterConfig: { command: '/bin/true' },
  });
  const environment = await workload.limit(SLOTS);
  await workload.steer(environment, 'drain');
  let begunAt = 0;
  await workload.together(contenders * TURNS, async () => {
    begunAt = performance.now();
    await workload.steer(environment, 'activate');
  });
  const seconds = (performance.now() - begunAt) / 1000;
  const { rows } = await cluster.watcher.query<{ ms: number | null; early: boolean }>(HAND_OVERS, [
    environment,
    contenders,
  ]);
  const handOver = rows.flatMap(({ ms }) => ms ?? []);
  return { handOver, early: rows.filter(({ early }) => early).length, seconds, contenders };
}

/** In the order in which they were given: ids rise with time, tokens with it in each environment. */
const HAND_OVERS = `
  select 1000 * extract(epoch from l.acquired_at - lag(l.held_until) over (partition by l.slot order by l.fencing_token))::float8 as ms,
    row_number() over (order by l.fencing_token) <= $2
      and row_number() over (partition by r.agent_id order by l.fencing_token) > 1 as early
  from environment_leases l join heartbeat_runs r on r.id = l.heartbeat_run_id where l.environment_id = $1`;
