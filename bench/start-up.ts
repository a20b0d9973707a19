import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Benchmark, Findings, Setting } from './benchmark.ts';
import { HttpClient } from './http.ts';
import { memoryOf } from './processes.ts';
import { median } from './rounds.ts';
import { Server } from './server.ts';

const MIB = 2 ** 20;
/** After its start a server still does what can wait, and looks every five seconds whether it has come to rest. */
const REST_MS = 20_000;

export const startUp: Benchmark = {
  name: 'start-up',
  about:
    'From the start of the process (what `npm start` runs) to its first answered request, with its own PostgreSQL: on an ' +
    'empty directory, and on the same one after a clean stop. Then the memory of a server at rest, and of its guard ' +
    'process; PSS counts a page that n processes share as 1/n of it. PostgreSQL is left out.',
  run,
};

async function run({ quick, say }: Setting): Promise<Findings> {
  const rounds = quick ? 1 : 5;
  const seconds = { fresh: [] as number[], warm: [] as number[] };
  for (let round = 1; round <= rounds; round++) {
    say(`round ${round} of ${rounds}`);
    const home = await temporaryHome();
    seconds.fresh.push(await secondsToAnswer(home));
    seconds.warm.push(await secondsToAnswer(home));
    await rm(home, { recursive: true });
  }
  const memory = await memoryAtRest(quick ? 1000 : REST_MS);
  const whole = memory.reduce((sum, { pss }) => sum + pss, 0) / MIB;
  return {
    tables: [
      {
        title: `Start to first answer, ${rounds} rounds, in seconds`,
        columns: ['', 'median', 'fastest', 'slowest'],
        rows: Object.entries(seconds).map(([name, all]) => [name, median(all), Math.min(...all), Math.max(...all)]),
      },
      {
        title: 'Memory at rest, in MiB',
        columns: ['process', 'RSS', 'PSS'],
        rows: memory.map(({ name, rss, pss }) => [name, rss / MIB, pss / MIB]),
      },
    ],
    checks: [
      { kind: 'goal', what: 'warm start, seconds', measured: median(seconds.warm), atMost: 2 },
      { kind: 'goal', what: 'first start, seconds', measured: median(seconds.fresh), atMost: 6 },
      { kind: 'goal', what: 'server and guard at rest, MiB of PSS', measured: whole, atMost: 150 },
    ],
  };
}

async function secondsToAnswer(home: string): Promise<number> {
  const begunAt = performance.now();
  await using server = await Server.start({ BERTH_HOME: home });
  using client = new HttpClient(server.url);
  await client.get('/companies');
  return (performance.now() - begunAt) / 1000;
}

async function memoryAtRest(restMs: number): Promise<{ name: string; rss: number; pss: number }[]> {
  const home = await temporaryHome();
  try {
    await using server = await Server.start({ BERTH_HOME: home });
    await delay(restMs);
    return memoryOf(server.pid)
      .filter(({ command }) => !command.includes('postgres'))
      .map(({ pid, ...memory }) => ({ ...memory, name: pid === server.pid ? 'server' : 'guard' }));
  } finally {
    await rm(home, { recursive: true });
  }
}

/** PostgreSQL may have to run as another user, and goes through it. */
async function temporaryHome(): Promise<string> {
  const home = await mkdtemp(path.join(tmpdir(), 'berth-bench-'));
  await chmod(home, 0o755);
  return home;
}
