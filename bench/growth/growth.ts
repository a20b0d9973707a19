import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { Client } from 'pg';
import { migrate } from '#berth/database/migrations.js';
import type { Benchmark, Findings, Setting, Table } from '../benchmark.ts';
import { Cluster } from '../cluster.ts';
import { loadData, type DataNames, type DataSize } from '../data-at-size.ts';
import { median, usual } from '../rounds.ts';
import { costTable, readByTheClock, readsTable } from './reads-by-the-clock.ts';
import { reads } from './reads.ts';
import { startSteps, type Steps } from './steps.ts';

/** The same goes on in both; what there was before is enough to fill the pages, or very much. */
const LITTLE: DataSize = { runs: 20_000, live: 400, waiting: 0 };
const MUCH: DataSize = { runs: 1_000_000, live: 400, waiting: 0 };
const MUCH_QUICKLY: DataSize = { runs: 60_000, live: 400, waiting: 0 };

/** Of each step in a round. */
const TIMES = 20;

export const growth: Benchmark = {
  name: 'growth',
  about:
    'What steps and lists cost when there have been 1 million runs and leases and 5 million entries of the record, and ' +
    'when there have been 20,000 runs, enough to fill the same pages; 400 runs are running in both. The median of 20 of each ' +
    'in a round, by turns, in the benchmark’s process over HTTP or as a runner calls them; the median of the rounds’ ' +
    'ratios. Then reads of servers of their own, 200 in a second by the clock, pages of 50 rows: of both by turns, and of the ' +
    'one at size alone.',
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
  const rounds = quick ? { byTurns: 2, alone: 2, seconds: 2 } : { byTurns: 3, alone: 5, seconds: 5 };
  const answered = await readByTheClock(little, much, rounds);
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
      {
        kind: 'goal',
        what: 'reads at size, 200 a second, no other server beside it: p99 ms',
        measured: usual(answered.alone, 99),
        atMost: 20,
      },
    ],
  };
}

export interface Loaded {
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

export type Side = 'little' | 'much';
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
