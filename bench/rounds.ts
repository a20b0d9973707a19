import { addUp, type Cost } from './meter.ts';
import type { Table } from './benchmark.ts';

/** One round of doing the same thing many times. */
export interface Round {
  readonly operations: number;
  readonly seconds: number;
  /** Of each operation, in milliseconds. */
  readonly latencies: readonly number[];
  /** Of all operations together, where it was counted. */
  readonly cost?: Cost;
}

/**
 * Takes the rounds of several contenders by turns, so that what drifts on the machine meets all of them alike. Each has
 * one round before that, which does not count.
 */
export async function interleave<Name extends string>(
  rounds: number,
  contenders: Record<Name, () => Promise<Round>>,
): Promise<Record<Name, Round[]>> {
  const names = Object.keys(contenders) as Name[];
  const taken = Object.fromEntries(names.map((name): [Name, Round[]] => [name, []])) as Record<Name, Round[]>;
  for (const name of names) await contenders[name]();
  for (let round = 0; round < rounds; round++) {
    for (const name of names) taken[name].push(await contenders[name]());
  }
  return taken;
}

/** Operations in a second, in the median round. */
export const rate = (rounds: readonly Round[]): number =>
  median(rounds.map(({ operations, seconds }) => operations / seconds));

/** The rate as a part of the floor's: the median over pairs of rounds that were taken one after the other. */
export function ratio(rounds: readonly Round[], floor: readonly Round[]): number {
  return median(rounds.map((round, index) => rate([round]) / rate([floor[index]])));
}

/** The same of a percentile of the latencies. */
export const slowdown = (rounds: readonly Round[], floor: readonly Round[], percent: number): number =>
  median(rounds.map((round, index) => percentile([round], percent) / percentile([floor[index]], percent)));

/** Of the latencies of all rounds together, in milliseconds; not a number where none was taken. */
export function percentile(rounds: readonly Pick<Round, 'latencies'>[], percent: number): number {
  const sorted = rounds.flatMap(({ latencies }) => latencies).sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((sorted.length * percent) / 100) - 1)] ?? Number.NaN;
}

/** The same of the median round: what an absolute figure is taken from, because a machine is not idle all the time. */
export const usual = (rounds: readonly Pick<Round, 'latencies'>[], percent: number): number =>
  median(rounds.map((round) => percentile([round], percent)));

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** What one operation cost, over all rounds in which it was counted. */
export function costOfOne(rounds: readonly Round[]): Cost | null {
  const counted = rounds.filter(({ cost }) => cost !== undefined);
  if (counted.length === 0) return null;
  const operations = counted.reduce((sum, round) => sum + round.operations, 0);
  const all = addUp(counted.map(({ cost }) => cost!));
  return Object.fromEntries(Object.entries(all).map(([name, value]) => [name, value / operations])) as unknown as Cost;
}

const COLUMNS = [
  ...['', 'per second', 'of its floor', 'p50 ms', 'p99 ms'],
  ...['round-trips', 'statements', 'commits', 'WAL bytes', 'full-page bytes'],
  ...['server CPU ms', 'PostgreSQL CPU ms', 'children CPU ms'],
];

/** A table of rounds: what is counted is counted for one operation. */
export function roundsTable(
  title: string,
  contenders: readonly { name: string; rounds: readonly Round[]; floor?: readonly Round[] }[],
): Table {
  return {
    title,
    columns: COLUMNS,
    rows: contenders.map(({ name, rounds, floor }) => {
      const cost = costOfOne(rounds);
      return [
        ...[name, rate(rounds), floor ? ratio(rounds, floor) : null, percentile(rounds, 50), percentile(rounds, 99)],
        ...[cost?.roundTrips, cost?.statements, cost?.commits, cost?.walBytes, cost?.fullPageBytes],
        ...[cost?.serverCpuMs, cost?.postgresCpuMs, cost?.childrenCpuMs],
      ].map((cell) => cell ?? null);
    }),
  };
}
