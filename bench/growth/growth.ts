import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { Client } from 'pg';
import { migrate } from '#berth/database/migrations.js';
import type { Benchmark, Findings, Setting, Table } from '../benchmark.ts';
import { Cluster } from '../cluster.ts';
import { loadData, type DataNames, type DataSize } from '../data-at-size.ts';
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
    'in a round, in the benchmark’s process over HTTP or as a runner calls them; rounds on both by turns, the median of ' +
    'their ratios. Then reads of a server of its own, 200 in a second by the clock, pages of 50 rows.',
  run,
};

async function run({ quick, say }: Setting): Promise<Findings> {
  await using cluster = await Cluster.start({ max_wal_size: '4GB' });
  const little = await database(cluster, 'little', LITTLE, () => undefined);
  const much = await database(cluster, 'much', quick ? MUCH_QUICKLY : MUCH, (runs) => {
    if (runs % 100_000 === 0) say(`${runs} runs`);
  });
  const compared = await compare(little, much, quick ? 3 : 7);
  say('reads by the clock');
  const load = { rate: RATE, seconds: quick ? 3 : 20 };
  const answered = { little: await readsOf(little, load), much: await readsOf(much, load) };
  const all = Object.values(answered.much);
  return {
    tables: [growthTable(compared), readsTable(answered)],
    checks: [
      ...Object.entries(compared).map(([what, rounds]) => ({
        kind: 'gate' as const,
        what: `${what}: at size, times the cost of little`,
        measured: ratioOf(rounds),
        atMost: 1.3,
      })),
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

/** Of each step and list, the medians of the rounds: in pairs, taken one after the other. */
export type Compared = Record<string, { little: number[]; much: number[] }>;

export async function compare(little: Loaded, much: Loaded, rounds: number): Promise<Compared> {
  const sides = { little, much };
  const compared: Compared = {};
  const watchers = { little: await connect(little.url), much: await connect(much.url) };
  const steps = {
    little: await startSteps(little.home, little.url, watchers.little),
    much: await startSteps(much.home, much.url, watchers.much),
  };
  // What is read and planned the first time does not count.
  for (let round = -1; round < rounds; round++) {
    for (const side of ['little', 'much'] as const) {
      for (const [what, took] of Object.entries(await roundOf(steps[side], sides[side].names))) {
        compared[what] ??= { little: [], much: [] };
        if (round >= 0) compared[what][side].push(median(took));
      }
    }
  }
  for (const side of ['little', 'much'] as const) {
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

async function roundOf(steps: Steps, names: DataNames): Promise<Record<string, number[]>> {
  const took: Record<string, number[]> = { provision: [], finalise: [], reap: [] };
  for (let time = 0; time < TIMES; time++) {
    const { provision, finalise } = await steps.cycle();
    took.provision.push(provision);
    took.finalise.push(finalise);
    took.reap.push(await steps.reap());
  }
  for (const [what, path] of Object.entries(reads(names))) {
    took[what] = [];
    for (let time = 0; time < TIMES; time++) took[what].push(await steps.read(path));
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
async function readsOf(
  { home, url, names }: Loaded,
  load: { rate: number; seconds: number },
): Promise<Record<string, Round>> {
  await using server = await Server.start({
    ...{ BERTH_HOME: home, BERTH_DATABASE_URL: url, BERTH_ROLES: 'api' },
    // The beginning of the history would be removed meanwhile.
    ...{ BERTH_RETAIN_ACTIVITY_DAYS: '0', BERTH_RETAIN_RUN_DAYS: '0', BERTH_RETAIN_RUN_LOG_DAYS: '0' },
  });
  await openLoop(server.url, reads(names), { ...load, seconds: 3 });
  return await openLoop(server.url, reads(names), load);
}

function readsTable({ little, much }: Record<'little' | 'much', Record<string, Round>>): Table {
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
