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
  readonly floor: Round[];
  readonly woken: Round[];
  readonly queued: Round[];
}

/** Of each of many wakes at a steady pace; Berth and floor by turns. */
export async function startLatency(cluster: Cluster, { quick }: Setting): Promise<Started> {
  await cluster.watcher.query('create database start_floor');
  const address = new URL(cluster.url);
  address.pathname = '/start_floor';
  await using floor = await StartFloor.connect(address.href);
  await using servers = await Servers.start(cluster, 0);
  using workload = await Workload.prepare(servers.url, cluster.watcher, 4, TELLS_TIME);
  if (!quick) await workload.warmUp(CLIENTS);
  const runs = PER_SECOND * (quick ? 2 : SECONDS);
  const round = (latencies: number[]): Round => ({ operations: runs, seconds: runs / PER_SECOND, latencies });
  const queued: Round[] = [];
  const rounds = quick ? 1 : 5;
  const taken = await interleave(rounds, {
    floor: async () => round(await floor.round(runs, PER_SECOND)),
    woken: async () => {
      const sent = await workload.openLoop(runs, PER_SECOND);
      const started = await startedOf(cluster, sent);
      queued.push(round(started.map(({ sinceQueued }) => sinceQueued)));
      return round(started.map(({ sinceWoken }) => sinceWoken));
    },
  });
  return { ...taken, queued: queued.slice(-rounds) };
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
