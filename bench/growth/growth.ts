import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { Client } from 'pg';
import { migrate } from '#berth/database/migrations.js';
import type { Benchmark, Findings, Setting, Table } from '../benchmark.ts';
import { Cluster, connectWatcher } from '../cluster.ts';
import { loadData, type DataNames, type DataSize } from '../data-at-size.ts';
import { Meter, type Cost } from '../meter.ts';
import { median, percentile, type Round } from '../rounds.ts';
import { Server } from '../server.ts';
import { openLoop } from './open-loop.ts';
import { reads } from './reads.ts';
import { startSteps, type Steps } from './steps.ts';

/** The same goes on in both; what there was before is enough to fill the pages, or very much. */
const LITTLE: DataSize = { runs: 20_000, live: 400, waiting: 0 };
const MUCH: DataSize = { runs: 1_000_000, live: 400, waiting: 0 };
const MUCH_QUICKLY: DataSize = { runs: 60_000, live: 400, waiting: 0 };

const RATE = 200;
/** Of each step in a round. */
const TIMES = 20;

export const growth: Benchmark = {
  name: 'growth',
  about:
    'What steps and lists cost when there have been 1 million runs and leases and 5 million entries of the record, and ' +
    'when there have been 20,000 runs, enough to fill the same pages; 400 runs are running in both. The median of 20 of each ' +
    'in a round, by turns, in the benchmark’s process over HTTP or as a runner calls them; the median of the rounds’ ' +
    'ratios. Then reads of a server of its own, 200 in a second by the clock, pages of 50 rows.',
  run,
};

async function run({ quick, say }: Setting): Promise<Findings> {
  await using cluster = await Cluster.start({ max_wal_size: '4GB' });
  const little = await database(cluster, 'little', LITTLE, () => undefined);
  const much = await database(cluster, 'much', quick ? MUCH_QUICKLY : MUCH, (runs) => {
    if (runs % 100_000 === 0) say(`${runs} runs`);
  });
  const compared = await compare(little, much, quick ? 3 : 5);
  say('reads by the clock');
  const load = { rate: RATE, seconds: quick ? 3 : 20 };
  const answered = { little: await readsOf(little, load), much: await readsOf(much, load) };
  const all = Object.values(answered.much.rounds);
  return {
    tables: [growthTable(compared), readsTable(answered), costTable(answered)],
    checks: [
      ...Object.entries(compared).map(([what, rounds]) => ({
        kind: 'gate' as const,
        what: `${what}: at size, times the cost of little`,
        measured: ratioOf(rounds),
        atMost: 1.3,
      })),
      {
        kind: 'gate',
        what: 'a read at size: processor time of the server, times that of little',
        measured: answered.much.cost.serverCpuMs / answered.little.cost.serverCpuMs,
        atMost: 1.3,
      },
      { kind: 'goal', what: 'reads at size, 200 a second: p99 ms', measured: percentile(all, 99), atMost: 20 },
    ],
  };
}

interface Loaded {
  /** Of the servers on it: what is kept there of a database is not true of another. */
  readonly home: string;
  readonly url: string;
  readonly names: DataNames;
}

async function database(
  cluster: Cluster,
  name: string,
  size: DataSize,
  onProgress: (runs: number) => void,
): Promise<Loaded> {
  await cluster.watcher.query(`create database ${name}`);
  const address = new URL(cluster.url);
  address.pathname = `/${name}`;
  await migrate(address.href);
  const names = await loadData(address.href, size, { checked: false, connections: 2, onProgress });
  const home = path.join(cluster.home, name);
  await mkdir(home);
  return { home, url: address.href, names };
}

type Side = 'little' | 'much';
const SIDES = ['little', 'much'] as const;

/** Of each step and list, the medians of the rounds: in pairs, taken one after the other. */
export type Compared = Record<string, Record<Side, number[]>>;

/** Of each side alternately, one at a time: what drifts on the machine meets both alike. */
export async function compare(little: Loaded, much: Loaded, rounds: number): Promise<Compared> {
  const watchers = { little: await connect(little.url), much: await connect(much.url) };
  const steps = {
    little: await startSteps(little.home, little.url, watchers.little),
    much: await startSteps(much.home, much.url, watchers.much),
  };
  const paths = { little: reads(little.names), much: reads(much.names) };
  const compared: Compared = {};
  // What is read and planned the first time does not count.
  for (let round = -1; round < rounds; round++) {
    for (const [what, took] of Object.entries(await roundOf(steps, paths))) {
      compared[what] ??= { little: [], much: [] };
      for (const side of SIDES) if (round >= 0) compared[what][side].push(median(took[side]));
    }
  }
  for (const side of SIDES) {
    await steps[side][Symbol.asyncDispose]();
    await watchers[side].end();
  }
  return compared;
}

async function connect(url: string): Promise<Client> {
  const client = new Client(url);
  await client.connect();
  return client;
}

async function roundOf(
  steps: Record<Side, Steps>,
  paths: Record<Side, Record<string, string>>,
): Promise<Record<string, Record<Side, number[]>>> {
  const took: Record<string, Record<Side, number[]>> = {};
  const note = (what: string, side: Side, ms: number) => (took[what] ??= { little: [], much: [] })[side].push(ms);
  const byTurns = async (work: (side: Side) => Promise<unknown>) => {
    for (let time = 0; time < TIMES; time++) for (const side of SIDES) await work(side);
  };
  await byTurns(async (side) => {
    const { provision, finalise } = await steps[side].cycle();
    note('provision', side, provision);
    note('finalise', side, finalise);
    note('reap', side, await steps[side].reap());
  });
  for (const what of Object.keys(paths.little)) {
    await byTurns(async (side) => note(what, side, await steps[side].read(paths[side][what])));
  }
  return took;
}

export const ratioOf = ({ little, much }: Compared[string]): number =>
  median(much.map((took, round) => took / little[round]));

function growthTable(compared: Compared): Table {
  return {
    title: 'Median of one, in milliseconds',
    columns: ['', 'little', 'at size', 'ratio'],
    rows: Object.entries(compared).map(([what, rounds]) => [
      ...[what, median(rounds.little), median(rounds.much)],
      ratioOf(rounds),
    ]),
  };
}

/** After a while in which everything is read and planned for the first time. */
async function readsOf({ home, url, names }: Loaded, load: { rate: number; seconds: number }): Promise<Answered> {
  await using server = await Server.start({
    ...{ BERTH_HOME: home, BERTH_DATABASE_URL: url, BERTH_ROLES: 'api' },
    // The beginning of the history would be removed meanwhile.
    ...{ BERTH_RETAIN_ACTIVITY_DAYS: '0', BERTH_RETAIN_RUN_DAYS: '0', BERTH_RETAIN_RUN_LOG_DAYS: '0' },
  });
  const watcher = await connectWatcher(url);
  await openLoop(server.url, reads(names), { ...load, seconds: 10 });
  let rounds: Answered['rounds'] = {};
  const cost = await new Meter(watcher, [server.pid]).during(async () => {
    rounds = await openLoop(server.url, reads(names), load);
  });
  await watcher.end();
  const count = load.rate * load.seconds;
  const ofOne = Object.fromEntries(Object.entries(cost).map(([name, value]) => [name, value / count]));
  return { rounds, cost: ofOne as unknown as Cost };
}

/** Reads by the clock: each kind of them, and what one of them cost on average. */
interface Answered {
  readonly rounds: Record<string, Round>;
  readonly cost: Cost;
}

function costTable({ little, much }: Record<Side, Answered>): Table {
  const row = (name: string, { cost }: Answered) => [
    ...[name, cost.serverCpuMs, cost.postgresCpuMs, cost.roundTrips, cost.commits, cost.walBytes],
  ];
  return {
    title: 'What a read costs, on average over all of them',
    columns: ['', 'server CPU ms', 'PostgreSQL CPU ms', 'round-trips', 'commits', 'WAL bytes'],
    rows: [row('little', little), row('at size', much)],
  };
}

function readsTable(answered: Record<Side, Answered>): Table {
  const [little, much] = [answered.little.rounds, answered.much.rounds];
  const longest = (round: Round) => percentile([round], 100);
  return {
    title: `Reads, ${RATE} a second, in milliseconds`,
    columns: ['', 'little p50', 'little p99', 'at size p50', 'at size p99', 'at size longest'],
    rows: Object.keys(much).map((kind) => [
      ...[kind, percentile([little[kind]], 50), percentile([little[kind]], 99)],
      ...[percentile([much[kind]], 50), percentile([much[kind]], 99), longest(much[kind])],
    ]),
  };
}
