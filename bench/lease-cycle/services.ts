import { bootstrap } from '#berth/bootstrap.js';
import { loadConfig } from '#berth/config/load-config.js';
import { ProvisionService } from '#berth/heartbeat/claiming/provision.service.js';
import { Reaper } from '#berth/heartbeat/ending/reaper.js';
import { FinaliseService } from '#berth/heartbeat/execution/finalise.service.js';
import { failedOutcome, type RunOutcome } from '#berth/heartbeat/runs/run-outcome.js';
import { Waits } from '#berth/heartbeat/waiting/waits.js';
import { Timers } from '#berth/heartbeat/wakes/timers.js';
import { PlaceSweeper } from '#berth/leases/places/place-sweeper.js';
import type { Cluster } from '../cluster.ts';

const SUCCEEDED: RunOutcome = {
  ...failedOutcome('', ''),
  ...{ status: 'succeeded', error: null, errorCode: null, exitCode: 0, resultJson: { signal: null, exitCode: 0 } },
};

/** Berth's own services in this process, assembled as in production; nothing in it acts by itself. */
export interface Services extends AsyncDisposable {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  /** Starts a run that is queued and ends it. @returns its id; null when there was none to start. */
  cycle(): Promise<string | null>;
}

export async function startServices({ home, url }: Cluster): Promise<Services> {
  const defaults = loadConfig({ BERTH_LOG_LEVEL: 'error', BERTH_PORT: '0' }, home);
  const config = defaults.with({ home, databaseUrl: url, roles: new Set(['api']) });
  const app = await bootstrap(config);
  const loops = [Reaper, PlaceSweeper, Timers, Waits].map((loop) => app.get(loop, { strict: false }));
  await Promise.all(loops.map((loop) => loop.beforeApplicationShutdown()));
  const provision = app.get(ProvisionService, { strict: false });
  const finalise = app.get(FinaliseService, { strict: false });
  return {
    url: `http://127.0.0.1:${config.port}`,
    async cycle() {
      const run = await provision.provision();
      if (run) await finalise.finalise(run, SUCCEEDED);
      return run && run.id;
    },
    [Symbol.asyncDispose]: () => app.close(),
  };
}
