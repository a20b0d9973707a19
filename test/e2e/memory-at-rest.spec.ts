import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { startServerProcess, type ServerProcess } from '../support/server-process.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

/** What the README promises. */
const LIMIT_MIB = 150;
/** A machine that is busy with other things may have to wait until the server counts as idle. */
const PATIENCE_MS = 45_000;
const onLinux = process.platform === 'linux' ? it : it.skip;

let database: TestDatabase;
let server: ServerProcess;

beforeAll(async () => {
  database = await createTestDatabase();
  server = await startServerProcess({ BERTH_DATABASE_URL: database.url });
});
afterAll(async () => {
  await server.stop();
  await database.close();
});

async function residentMiB(): Promise<number> {
  const status = await readFile(`/proc/${server.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}

/** The median of a few readings, one after another. */
async function medianMiB(): Promise<number> {
  const readings: number[] = [];
  while (readings.length < 5) {
    readings.push(await residentMiB());
    await sleep(200);
  }
  return readings.sort((a, b) => a - b)[2] ?? Number.NaN;
}

async function settlesBelow(limitMiB: number): Promise<number> {
  const deadline = Date.now() + PATIENCE_MS;
  let median = await medianMiB();
  while (median > limitMiB && Date.now() < deadline) median = await medianMiB();
  return median;
}

onLinux(
  'a server that has come to rest takes less than its limit of memory',
  async () => expect(await settlesBelow(LIMIT_MIB)).toBeLessThan(LIMIT_MIB),
  60_000,
);
