import type { Setting } from '../benchmark.ts';
import type { Cluster } from '../cluster.ts';
import { interleave, type Round } from '../rounds.ts';
import { Servers } from './servers.ts';
import { StartFloor } from './start-floor.ts';
import { TELLS_TIME, Workload } from './workload.ts';

const PER_SECOND = 20;
/** While it is warmed up. */
const CLIENTS = 20;
/** Of a round. */
const SECONDS = 4;

/** From a wake until its process runs, and from when its run was queued. */
export interface Started {
  readonly woken: Round[];
  readonly queued: Round[];
}

/** Of one process that does everything and has executed some runs; Berth and floor by turns. */
export async function startLatency(cluster: Cluster, { quick }: Setting): Promise<Started & { floor: Round[] }> {
  await cluster.watcher.query('create database start_floor');
  const address = new URL(cluster.url);
  address.pathname = '/start_floor';
  await using floor = await StartFloor.connect(address.href);
  await using servers = await Servers.start(cluster, 0);
  using pace = await SteadyPace.prepare(cluster, servers, quick);
  const rounds = quick ? 1 : 5;
  if (!quick) await pace.workload.warmUp(CLIENTS);
  const taken = await interleave(rounds, {
    floor: async () => pace.roundOf(await floor.round(pace.runs, PER_SECOND)),
    woken: () => pace.round(),
  });
  return { ...taken, queued: pace.queued.slice(-rounds) };
}

/** Of processes that have executed some runs. */
export async function startLatencyOf(cluster: Cluster, servers: Servers, { quick }: Setting): Promise<Started> {
  using pace = await SteadyPace.prepare(cluster, servers, quick);
  const rounds = quick ? 1 : 3;
  const { woken } = await interleave(rounds, { woken: () => pace.round() });
  return { woken, queued: pace.queued.slice(-rounds) };
}

/** Many wakes at a steady pace. */
class SteadyPace implements Disposable {
  readonly workload: Workload;
  /** In a round. */
  readonly runs: number;
  /** Of all rounds, from when the runs were queued. */
  readonly queued: Round[] = [];
  private readonly cluster: Cluster;

  private constructor(cluster: Cluster, workload: Workload, runs: number) {
    this.cluster = cluster;
    this.workload = workload;
    this.runs = runs;
  }

  static async prepare(cluster: Cluster, { url }: Servers, quick: boolean): Promise<SteadyPace> {
    const workload = await Workload.prepare(url, cluster.watcher, 4, TELLS_TIME);
    return new SteadyPace(cluster, workload, PER_SECOND * (quick ? 2 : SECONDS));
  }

  /** From the wakes on. */
  async round(): Promise<Round> {
    const started = await startedOf(this.cluster, await this.workload.openLoop(this.runs, PER_SECOND));
    this.queued.push(this.roundOf(started.map(({ sinceQueued }) => sinceQueued)));
    return this.roundOf(started.map(({ sinceWoken }) => sinceWoken));
  }

  roundOf(latencies: number[]): Round {
    return { operations: this.runs, seconds: this.runs / PER_SECOND, latencies };
  }

  [Symbol.dispose](): void {
    this.workload[Symbol.dispose]();
  }
}

/** How long it took until a process read the time, in milliseconds. */
interface StartedRun {
  /** From when its wake was sent. */
  readonly sinceWoken: number;
  /** From when the run was made, before that was committed, by the server's clock. */
  readonly sinceQueued: number;
}

/** @param sent when the wake of each run was sent. */
export async function startedOf({ watcher }: Cluster, sent: ReadonlyMap<string, number>): Promise<StartedRun[]> {
  const { rows } = await watcher.query<{ id: string; created_at: Date; written: string }>(
    `select r.id, r.created_at, string_agg(convert_from(c.content, 'UTF8'), '' order by c.stream_offset) as written
     from heartbeat_runs r join heartbeat_run_log_chunks c on c.run_id = r.id where r.id = any($1) group by r.id`,
    [[...sent.keys()]],
  );
  if (rows.length !== sent.size) throw new Error(`${sent.size - rows.length} processes have not told their time`);
  return rows.map(({ id, created_at: queuedAt, written }) => {
    const begunAt = Number(written) / 1e6;
    return { sinceWoken: begunAt - sent.get(id)!, sinceQueued: begunAt - queuedAt.getTime() };
  });
}
