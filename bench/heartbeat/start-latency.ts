import type { Setting } from '../benchmark.ts';
import type { Cluster } from '../cluster.ts';
import { Servers } from './servers.ts';
import { Workload } from './workload.ts';

const PER_SECOND = 20;
const SECONDS = 20;
/** A process that says when it began, in nanoseconds, by the machine's clock. */
export const TELLS_TIME = { adapterConfig: { command: 'date', args: ['+%s%N'] } };

/** How long it takes from a wake until its process runs, in milliseconds, for each of many wakes at a steady pace. */
export async function startLatency(cluster: Cluster, { quick }: Setting): Promise<number[]> {
  await using servers = await Servers.start(cluster, 0);
  using workload = await Workload.prepare(servers.url, cluster.watcher, 4, TELLS_TIME);
  await workload.openLoop(2 * PER_SECOND, PER_SECOND);
  const sent = await workload.openLoop(quick ? 3 * PER_SECOND : SECONDS * PER_SECOND, PER_SECOND);
  return await latencies(cluster, sent);
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
