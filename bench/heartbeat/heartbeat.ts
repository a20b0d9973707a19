import type { Benchmark, Findings, Setting, Table } from '../benchmark.ts';
import { Cluster } from '../cluster.ts';
import { Meter } from '../meter.ts';
import { costOfOne, interleave, percentile, rate, ratio, roundsTable, slowdown, usual, type Round } from '../rounds.ts';
import { Servers } from './servers.ts';
import { spawnRound } from './spawn-floor.ts';
import { startLatency, startLatencyOf, type Started } from './start-latency.ts';
import { Workload } from './workload.ts';

const AGENTS = 4;
/** As many runs at once as the agents may have, with the default cap of five each. */
const CLIENTS = 20;
/** A slot for each of them, where 8 are the default. */
const SLOTS = { BERTH_RUNNER_SLOTS: String(CLIENTS) };
const AGENT = { adapterConfig: { command: '/bin/true' } };
const RUNNERS = [2, 4, 8];

export const heartbeat: Benchmark = {
  name: 'heartbeat',
  about:
    `From a wake over HTTP to the recorded end of its run, which executes \`/bin/true\`: ${AGENTS} agents with default ` +
    `settings, ${CLIENTS} clients in a closed loop, a server process with ${CLIENTS} slots that has executed some. Latency ends at the run’s ` +
    '`finished_at`. Floor: spawning `/bin/true` from a small Node program, 8 at once, with nothing recorded. The ' +
    'benchmark reads the runs’ ends from the database, every 20 ms, which is not counted. Then the same with one API ' +
    'process and several processes that execute runs. Then wakes at a steady 20 in a second of agents that execute ' +
    '`date +%s%N`, by a server process that has executed some: to the time that the process itself read, from before the ' +
    'request was sent, and from when its run was queued (before that was committed). Their floor is two prepared ' +
    'statements, each a transaction, from a bare `pg` client, and the same process spawned by Node. The same pace with several ' +
    'processes.',
  run,
};

async function run(setting: Setting): Promise<Findings> {
  await using cluster = await Cluster.start();
  const alone = await oneProcess(cluster, setting);
  setting.say('steady pace');
  const started = await startLatency(cluster, setting);
  const several = [];
  for (const runners of RUNNERS) several.push({ runners, ...(await fleet(cluster, runners, setting)) });
  const cost = costOfOne(alone.berth)!;
  return {
    tables: [
      roundsTable('Wake to finished', [
        { name: 'floor: spawn', rounds: alone.spawn },
        { name: 'Berth', rounds: alone.berth, floor: alone.spawn },
        { name: 'Berth, one client', rounds: alone.single },
      ]),
      scaling([{ runners: 0, ...alone }, ...several]),
      {
        title: 'To process start at 20 runs in a second, in ms: the median of rounds',
        columns: ['', 'runs', 'p50', 'p99', 'slowest of all', 'p50, times the floor’s'],
        rows: [
          latencyRow('floor', started.floor, null),
          latencyRow('Berth, from the wake', started.woken, started.floor),
          latencyRow('Berth, from the queued run', started.queued, started.floor),
          ...several.flatMap(({ runners, steady }) => [
            latencyRow(`${runners} runners, from the wake`, steady.woken, null),
            latencyRow(`${runners} runners, from the queued run`, steady.queued, null),
          ]),
        ],
      },
    ],
    checks: [
      {
        kind: 'gate',
        what: 'runs, of what is spawned bare',
        measured: ratio(alone.berth, alone.spawn),
        atLeast: 150 / 400,
      },
      { kind: 'gate', what: 'commits of a run', measured: cost.commits, atMost: 4 },
      { kind: 'gate', what: 'statements of a run', measured: cost.statements, atMost: 12 },
      { kind: 'gate', what: 'WAL bytes of a run', measured: cost.walBytes, atMost: 6144 },
      {
        kind: 'goal',
        what: 'queued run to process start, p50 ms',
        measured: usual(started.queued, 50),
        atMost: 10,
      },
      {
        kind: 'goal',
        what: 'queued run to process start, p99 ms',
        measured: usual(started.queued, 99),
        atMost: 40,
      },
    ],
  };
}

function latencyRow(name: string, rounds: readonly Round[], floor: readonly Round[] | null): Table['rows'][number] {
  const runs = rounds.reduce((sum, { operations }) => sum + operations, 0);
  const slower = floor && slowdown(rounds, floor, 50);
  return [name, runs, usual(rounds, 50), usual(rounds, 99), percentile(rounds, 100), slower];
}

interface Taken {
  readonly spawn: Round[];
  readonly berth: Round[];
}

/** One process that does everything. @returns also one client alone: nothing shares a transaction. */
async function oneProcess(cluster: Cluster, { quick, say }: Setting): Promise<Taken & { single: Round[] }> {
  say('one process');
  await using servers = await Servers.start(cluster, 0, SLOTS);
  using workload = await Workload.prepare(servers.url, cluster.watcher, AGENTS, AGENT);
  const meter = new Meter(cluster.watcher, servers.pids);
  const runs = quick ? 60 : 400;
  if (!quick) await workload.warmUp(CLIENTS);
  return await interleave(quick ? 2 : 5, {
    spawn: () => spawnRound(runs),
    berth: () => workload.closedLoop(runs, CLIENTS, meter),
    single: () => workload.closedLoop(runs / 5, 1, meter),
  });
}

/** Processes that execute runs, beside one that does not. Only their rate is asked for, and how soon they start at a steady pace. */
async function fleet(cluster: Cluster, runners: number, setting: Setting): Promise<Taken & { steady: Started }> {
  setting.say(`${runners} runners`);
  await using servers = await Servers.start(cluster, runners, SLOTS);
  using workload = await Workload.prepare(servers.url, cluster.watcher, AGENTS, AGENT);
  const meter = new Meter(cluster.watcher, servers.pids);
  const runs = setting.quick ? 60 : 200;
  const taken = await interleave(setting.quick ? 2 : 3, {
    spawn: () => spawnRound(runs),
    berth: () => workload.closedLoop(runs, CLIENTS, meter),
  });
  return { ...taken, steady: await startLatencyOf(cluster, servers, setting) };
}

function scaling(fleets: readonly (Taken & { runners: number })[]): Table {
  const [alone] = fleets;
  return {
    title: 'Several processes that execute runs: runs in a second; CPU milliseconds of a run',
    columns: [
      'runners',
      'per second',
      'of one',
      'of its floor',
      'p50 ms',
      'p99 ms',
      'servers',
      'PostgreSQL',
      'children',
      'cores used',
    ],
    rows: fleets.map(({ runners, berth, spawn }) => {
      const { serverCpuMs, postgresCpuMs, childrenCpuMs } = costOfOne(berth)!;
      const busy = ((serverCpuMs + postgresCpuMs + childrenCpuMs) * rate(berth)) / 1000;
      return [
        ...[runners === 0 ? 'in the API process' : runners, rate(berth), rate(berth) / rate(alone.berth)],
        ...[ratio(berth, spawn), percentile(berth, 50), percentile(berth, 99)],
        ...[serverCpuMs, postgresCpuMs, childrenCpuMs, busy],
      ];
    }),
  };
}
