import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const PERIOD_MS = 5_000;
/** The share of one core that the process may have used over a period in which it counts as idle; at rest it uses 2 %. */
const IDLE_SHARE = 0.03;
/** A collection holds the process up for some 130 ms: not for less than this. */
const WORTHWHILE_BYTES = 16 * 1024 * 1024;

/**
 * Gives back the memory that start-up and load have left behind, once this process has next to nothing to do.
 *
 * V8 lets its young generation grow to 64 MB under load, which pays in throughput and is not limited here. What V8 does
 * by itself to give memory back (its memory reducer, off by `--no-memory-reducer` in `npm start`) it does whenever little
 * is allocated: between two runs, and with a thread for each of four helpers, which together held runs up by 50 ms and more.
 */
export function giveBackMemoryWhenIdle(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as NodeJS.GCFunction;
  const heapBytes = () => getHeapStatistics().total_physical_size;
  let used = process.cpuUsage();
  let settledBytes = 0;
  setInterval(() => {
    const { user, system } = process.cpuUsage(used);
    used = process.cpuUsage();
    const isIdle = (user + system) / 1000 < IDLE_SHARE * PERIOD_MS;
    if (!isIdle || heapBytes() < settledBytes + WORTHWHILE_BYTES) return;
    collect({ type: 'major', flavor: 'last-resort' });
    settledBytes = heapBytes();
  }, PERIOD_MS).unref();
}
