import type { Setting } from '../benchmark.ts';
import type { Cluster } from '../cluster.ts';
import { interleave, type Round } from '../rounds.ts';
import { Servers } from './servers.ts';
import { StartFloor } from './start-floor.ts';
import { TELLS_TIME, Workload } from './workload.ts';

const PER_SECOND = 20;
/** Of a round. */
const SECONDS = 4;

/** How long it takes from a wake until its process runs, for each of many wakes at a steady pace; Berth and floor by turns. */
export async function startLatency(cluster: Cluster, { quick }: Setting): Promise<Record<'floor' | 'berth', Round[]>> {
  await cluster.watcher.query('create database start_floor');
  const address = new URL(cluster.url);
  address.pathname = '/start_floor';
  await using floor = await StartFloor.connect(address.href);
  await using servers = await Servers.start(cluster, 0);
  using workload = await Workload.prepare(servers.url, cluster.watcher, 4, TELLS_TIME);
  const runs = PER_SECOND * (quick ? 2 : SECONDS);
  const round = (latencies: number[]): Round => ({ operations: runs, seconds: runs / PER_SECOND, latencies });
  return await interleave(quick ? 1 : 5, {
    floor: async () => round(await floor.round(runs, PER_SECOND)),
    berth: async () => round(await latencies(cluster, await workload.openLoop(runs, PER_SECOND))),
  });
}

/** From when each wake was sent to the time that its process read, in milliseconds. */
export async function latencies({ watcher }: Cluster, sent: ReadonlyMap<string, number>): Promise<number[]> {
  const { rows } = await watcher.query<{ run_id: string; written: string }>(
    `select run_id, string_agg(convert_from(content, 'UTF8'), '' order by stream_offset) as written
     from heartbeat_run_log_chunks where run_id = any($1) group by run_id`,
    [[...sent.keys()]],
  );
  if (rows.length !== sent.size) throw new Error(`${sent.size - rows.length} processes have not told their time`);
  return rows.map(({ run_id: run, written }) => Number(written) / 1e6 - sent.get(run)!);
}
