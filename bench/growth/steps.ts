import type { Client } from 'pg';
import { bootstrap } from '#berth/bootstrap.js';
import { loadConfig } from '#berth/config/load-config.js';
import { ProvisionService } from '#berth/heartbeat/claiming/provision.service.js';
import { ReapLeases } from '#berth/heartbeat/ending/reap-leases.js';
import { Reaper } from '#berth/heartbeat/ending/reaper.js';
import { FinaliseService } from '#berth/heartbeat/execution/finalise.service.js';
import { failedOutcome, type RunOutcome } from '#berth/heartbeat/runs/run-outcome.js';
import { Waits } from '#berth/heartbeat/waiting/waits.js';
import { Timers } from '#berth/heartbeat/wakes/timers.js';
import { PlaceSweeper } from '#berth/leases/places/place-sweeper.js';
import { HttpClient } from '../http.ts';
import { Queue } from '../lease-cycle/queue.ts';

const SUCCEEDED: RunOutcome = {
  ...failedOutcome('', ''),
  ...{ status: 'succeeded', error: null, errorCode: null, exitCode: 0, resultJson: { signal: null, exitCode: 0 } },
};

/** Berth on one database, in this process: its steps one at a time, in milliseconds each. */
export interface Steps extends AsyncDisposable {
  /** Starts a run that is queued, and ends it. */
  cycle(): Promise<{ provision: number; finalise: number }>;
  /** Starts a run, and ends it because its lease has run out. */
  reap(): Promise<number>;
  read(path: string): Promise<number>;
}

/** @param watcher a connection to the same database. */
export async function startSteps(home: string, databaseUrl: string, watcher: Client): Promise<Steps> {
  const defaults = loadConfig({ BERTH_LOG_LEVEL: 'error', BERTH_PORT: '0' }, home);
  const keepAll = { activityDays: 0, runDays: 0, runLogDays: 0 };
  const config = defaults.with({ home, databaseUrl, roles: new Set(['api']), retention: keepAll });
  const app = await bootstrap(config);
  const loops = [Reaper, PlaceSweeper, Timers, Waits].map((loop) => app.get(loop, { strict: false }));
  await Promise.all(loops.map((loop) => loop.beforeApplicationShutdown()));
  const [provisions, finalises, reaps] = [ProvisionService, FinaliseService, ReapLeases].map((service) =>
    app.get(service as never, { strict: false }),
  ) as [ProvisionService, FinaliseService, ReapLeases];
  const url = `http://127.0.0.1:${config.port}`;
  const client = new HttpClient(url);
  const queue = await Queue.prepare(url, watcher);
  const start = async () => {
    await queue.fill(1);
    const [run, provision] = await timed(() => provisions.provision());
    if (!run) throw new Error('The run that was queued was not started');
    return { run, provision };
  };
  return {
    async cycle() {
      const { run, provision } = await start();
      const [, finalise] = await timed(() => finalises.finalise(run, SUCCEEDED));
      return { provision, finalise };
    },
    async reap() {
      const { run } = await start();
      await watcher.query(`update environment_leases set expires_at = acquired_at + interval '1 ms' where id = $1`, [
        run.lease.id,
      ]);
      const [count, took] = await timed(() => reaps.reap());
      if (count !== 1) throw new Error(`${count} leases were reaped`);
      return took;
    },
    read: async (path) => (await timed(() => client.get(path)))[1],
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]();
      await app.close();
    },
  };
}

async function timed<T>(work: () => Promise<T>): Promise<[T, number]> {
  const begunAt = performance.now();
  const result = await work();
  return [result, performance.now() - begunAt];
}
