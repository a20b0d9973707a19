/**
 * A runner that renews leases and executes nothing: the built application, told that it holds what the database says.
 * Says `up` when it runs; holds that many leases when it is sent a number, and then says `holding`.
 */
import { once } from 'node:events';
import { Client } from 'pg';
import { bootstrap } from '#berth/bootstrap.js';
import { loadConfig } from '#berth/config/load-config.js';
import { bootClock } from '#berth/environments/drivers/guard/boot-clock.js';
import { RunningRuns } from '#berth/heartbeat/execution/running-runs.js';
import type { ClaimedRun } from '#berth/heartbeat/runs/claimed-run.js';
import { RunnerIdentity } from '#berth/heartbeat/runs/runner-identity.js';
import { makeLiveLeases } from './live-leases.ts';

const [, , home, databaseUrl] = process.argv;
const config = loadConfig({ BERTH_LOG_LEVEL: 'warn', BERTH_PORT: '0' }, home).with({ home, databaseUrl });
const app = await bootstrap(config);
process.send!('up');
const [count] = (await once(process, 'message')) as [number];
const { id } = app.get(RunnerIdentity, { strict: false });
const running = app.get(RunningRuns, { strict: false });
const client = new Client(databaseUrl);
await client.connect();
await makeLiveLeases(client, count, [id]);
const { rows } = await client.query<{ run: string; lease: string; token: string }>(
  `select heartbeat_run_id as run, id as lease, fencing_token as token from environment_leases
   where runner_id = $1 and status = 'active'`,
  [id],
);
await client.end();
const deadline = bootClock() + config.leaseTtlSec * 1000;
for (const { run, lease, token } of rows) {
  running.add({ id: run, lease: { id: lease, fencingToken: Number(token) }, deadline } as ClaimedRun);
}
process.send!('holding');
