import type { Benchmark, Findings, Setting } from './benchmark.ts';
import { Cluster } from './cluster.ts';
import { Servers } from './heartbeat/servers.ts';
import { Workload } from './heartbeat/workload.ts';
import { memoryOf } from './processes.ts';
import { setTimeout as delay } from 'node:timers/promises';

const RUNS = 500;
const AGENTS = 4;
const MIB = 2 ** 20;
const LOOK_MS = 200;

export const children: Benchmark = {
  name: 'children',
  about:
    `${RUNS} runs of \`sleep\` at once in one server process (\`BERTH_RUNNER_SLOTS=${RUNS}\`), none of which ends before ` +
    'all have started. How long it takes until all run and until all have ended, and what the server’s memory is then.',
  run,
};

async function run({ quick, say }: Setting): Promise<Findings> {
  const runs = quick ? 48 : RUNS;
  const sleepSec = quick ? 10 : 30;
  await using cluster = await Cluster.start();
  await using servers = await Servers.start(cluster, 0, { BERTH_RUNNER_SLOTS: String(runs) });
  using workload = await Workload.prepare(servers.url, cluster.watcher, AGENTS, {
    adapterConfig: { command: 'sleep', args: [String(sleepSec)] },
    runtimeConfig: { heartbeat: { maxConcurrentRuns: runs / AGENTS } },
  });
  const own = () => memoryOf(servers.pids[0]).filter(({ command }) => !command.startsWith('sleep'));
  const [memoryBefore, begunAt] = [own(), performance.now()];
  const over = workload.together(runs);
  const sleeping = () => memoryOf(servers.pids[0]).filter(({ command }) => command.startsWith('sleep')).length;
  let most = 0;
  while (most < runs && performance.now() - begunAt < sleepSec * 1000) {
    await delay(LOOK_MS);
    most = Math.max(most, sleeping());
  }
  const startedSec = (performance.now() - begunAt) / 1000;
  say(`${most} run at once`);
  const memoryThen = own();
  await over;
  const endedSec = (performance.now() - begunAt) / 1000;
  const size = (memory: ReturnType<typeof own>, of: 'rss' | 'pss') =>
    memory.reduce((sum, one) => sum + one[of], 0) / MIB;
  return {
    tables: [
      {
        title: `${runs} children of ${sleepSec} s`,
        columns: ['', 'seconds since the first wake', 'server and guard, RSS MiB', 'PSS MiB'],
        rows: [
          ['before', 0, size(memoryBefore, 'rss'), size(memoryBefore, 'pss')],
          ['all run', startedSec, size(memoryThen, 'rss'), size(memoryThen, 'pss')],
          ['all have succeeded', endedSec, size(own(), 'rss'), size(own(), 'pss')],
        ],
      },
    ],
    checks: [
      { kind: 'gate', what: 'children that ran at once, all of which succeeded', measured: most, atLeast: runs },
    ],
  };
}
