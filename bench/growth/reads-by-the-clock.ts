import type { Client } from 'pg';
import type { Table } from '../benchmark.ts';
import { connectWatcher } from '../cluster.ts';
import { Meter, type Cost } from '../meter.ts';
import { costOfOne, interleave, percentile, type Round } from '../rounds.ts';
import { Server } from '../server.ts';
import type { Loaded, Side } from './growth.ts';
import { openLoop } from './open-loop.ts';
import { reads } from './reads.ts';

/** Reads in a second. */
const RATE = 200;

/** What one side answered. */
interface Answered {
  /** All kinds of reads together, by round. */
  readonly rounds: readonly Round[];
  /** Over all rounds. */
  readonly kinds: Record<string, readonly number[]>;
  /** Of a read. */
  readonly cost: Cost;
}

/** How many, and how long each of them. */
interface Rounds {
  readonly byTurns: number;
  readonly alone: number;
  readonly seconds: number;
}

/** How reads went: on both sides by turns, and where there is much once more, with no other server beside it. */
export interface ReadByTheClock extends Record<Side, Answered> {
  readonly alone: readonly Round[];
}

/**
 * By turns, after a round in which everything is read and planned for the first time. What a server does while it has nothing
 * to do disturbs the other one there, so that the time of reads is taken of one that is alone, and that has read for a while.
 */
export async function readByTheClock(little: Loaded, much: Loaded, rounds: Rounds): Promise<ReadByTheClock> {
  await using ofMuch = await Reader.start(much);
  const byTurns = await readByTurns(little, ofMuch, rounds);
  const { alone } = await interleave(rounds.alone, { alone: () => ofMuch.round(rounds.seconds) });
  return { ...byTurns, alone };
}

async function readByTurns(little: Loaded, ofMuch: Reader, rounds: Rounds): Promise<Record<Side, Answered>> {
  await using ofLittle = await Reader.start(little);
  const taken = await interleave(rounds.byTurns, {
    little: () => ofLittle.round(rounds.seconds),
    much: () => ofMuch.round(rounds.seconds),
  });
  return { little: ofLittle.answered(taken.little), much: ofMuch.answered(taken.much) };
}

/** A server on one of the databases, and what it is asked. */
class Reader implements AsyncDisposable {
  private readonly server: Server;
  private readonly watcher: Client;
  private readonly paths: Record<string, string>;
  private readonly taken: Record<string, Round>[] = [];

  private constructor(server: Server, watcher: Client, paths: Record<string, string>) {
    this.server = server;
    this.watcher = watcher;
    this.paths = paths;
  }

  static async start({ home, url, names }: Loaded): Promise<Reader> {
    const server = await Server.start({
      ...{ BERTH_HOME: home, BERTH_DATABASE_URL: url, BERTH_ROLES: 'api' },
      // The beginning of the history would be removed meanwhile.
      ...{ BERTH_RETAIN_ACTIVITY_DAYS: '0', BERTH_RETAIN_RUN_DAYS: '0', BERTH_RETAIN_RUN_LOG_DAYS: '0' },
    });
    return new Reader(server, await connectWatcher(url), reads(names));
  }

  /** After a second that does not count: while the other side had its turn, connections here were closed. */
  async round(seconds: number): Promise<Round> {
    await openLoop(this.server.url, this.paths, { rate: RATE, seconds: 1 });
    let taken: Record<string, Round> = {};
    const cost = await new Meter(this.watcher, [this.server.pid]).during(async () => {
      taken = await openLoop(this.server.url, this.paths, { rate: RATE, seconds });
    });
    this.taken.push(taken);
    const latencies = Object.values(taken).flatMap((round) => round.latencies);
    return { operations: latencies.length, seconds, latencies, cost };
  }

  /** @param rounds those that count: all but the first. */
  answered(rounds: readonly Round[]): Answered {
    const counted = this.taken.slice(-rounds.length);
    const ofKind = (kind: string) => counted.flatMap((taken) => taken[kind].latencies);
    const kinds = Object.fromEntries(Object.keys(this.paths).map((kind) => [kind, ofKind(kind)]));
    return { rounds, kinds, cost: costOfOne(rounds)! };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.watcher.end();
    await this.server[Symbol.asyncDispose]();
  }
}

export function costTable({ little, much }: Record<Side, Answered>): Table {
  const row = (name: string, { cost }: Answered) => [
    ...[name, cost.serverCpuMs, cost.postgresCpuMs, cost.roundTrips, cost.commits, cost.walBytes],
  ];
  return {
    title: 'What a read costs, on average over all of them',
    columns: ['', 'server CPU ms', 'PostgreSQL CPU ms', 'round-trips', 'commits', 'WAL bytes'],
    rows: [row('little', little), row('at size', much)],
  };
}

export function readsTable({ little, much }: Record<Side, Answered>): Table {
  const of = (latencies: readonly number[], percent: number) => percentile([{ latencies }], percent);
  return {
    title: `Reads, ${RATE} a second, in milliseconds, over all rounds`,
    columns: ['', 'little p50', 'little p99', 'at size p50', 'at size p99', 'at size longest'],
    rows: Object.keys(much.kinds).map((kind) => [
      ...[kind, of(little.kinds[kind], 50), of(little.kinds[kind], 99)],
      ...[of(much.kinds[kind], 50), of(much.kinds[kind], 99), of(much.kinds[kind], 100)],
    ]),
  };
}
