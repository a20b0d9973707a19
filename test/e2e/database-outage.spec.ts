import { setTimeout as delay } from 'node:timers/promises';
import { startProxiedApp, Tally, type ProxiedApp } from '../support/proxied-app.js';
import { eventually } from '../support/eventually.js';
import { Scenario } from '../support/scenario.js';

const AWAY_MS = 20_000;
const WHOLE_LIFE = [
  'heartbeat.invoked',
  'environment.lease_acquired',
  'heartbeat.started',
  'heartbeat.failed',
  'environment.lease_failed',
];

describe('while the database is away for less than the life of a lease', () => {
  let app: ProxiedApp;
  let user: Scenario;
  let companyId: string;
  let tally: Tally;

  beforeAll(async () => {
    app = await startProxiedApp({ leaseTtlSec: 60 });
    user = new Scenario(app.url);
    companyId = await user.company();
    tally = await Tally.create();
  });
  afterAll(async () => {
    await app.close();
    await tally.remove();
  });

  it('a run goes on and its own result is recorded afterwards; the server says how it is, and works again', async () => {
    const script = `echo before; ${tally.add}; sleep 3; echo after; exit 7`;
    // What has written meanwhile waits with its log; what is silent, with its end.
    const { id } = await user.wake(await user.agent(companyId, script));
    const silent = await user.wake(await user.agent(companyId, 'sleep 3; exit 8'));
    await user.reached(silent.id, ['running']);
    await eventually(
      () => user.log(id),
      (log) => log === 'before\n',
    );
    app.proxy.goAway();
    const since = performance.now();
    expect(await user.api.get('/health')).toMatchObject({ status: 503, body: { database: 'unreachable' } });
    expect((await user.api.get('/health/live')).status).toBe(200);
    expect((await user.api.get(`/heartbeat-runs/${id}`)).status).toBe(503);
    await delay(AWAY_MS - (performance.now() - since));
    app.proxy.comeBack();

    const withinMs = 5_000;
    await eventually(
      () => user.api.get('/health'),
      ({ status }) => status === 200,
      withinMs,
    );
    expect(await user.ended(id, withinMs)).toMatchObject({
      status: 'failed',
      errorCode: 'adapter_failed',
      exitCode: 7,
    });
    const silentEnd = await user.ended(silent.id, withinMs);
    expect(silentEnd).toMatchObject({ status: 'failed', errorCode: 'adapter_failed', exitCode: 8 });
    expect(await user.log(id)).toBe('before\nafter\n');
    for (const runId of [id, silent.id]) {
      expect(await user.leases(runId)).toMatchObject([{ status: 'failed' }]);
      expect(await user.actions(companyId, runId)).toEqual(WHOLE_LIFE);
    }
    expect(await tally.count()).toBe(1);
    expect(await app.database.query('select 1 from heartbeat_runs where company_id = $1', [companyId])).toHaveLength(2);

    // Every slot, and the connection for notifications, has to have found back by itself.
    const agents = await Promise.all(Array.from({ length: 8 }, () => user.agent(companyId, 'true')));
    const woken = await Promise.all(agents.map((agentId) => user.wake(agentId)));
    for (const run of woken) expect(await user.ended(run.id)).toMatchObject({ status: 'succeeded' });
  });

  it('a runner that had nothing to do finds the run that was made meanwhile', async () => {
    const agentId = await user.agent(companyId, 'true');
    app.proxy.goAway();
    await delay(1_500);
    app.proxy.comeBack();
    const { id } = await eventually(
      () => user.wake(agentId).catch(() => null),
      (run) => run !== null,
    ).then((run) => run!);
    expect(await user.ended(id, 5_000)).toMatchObject({ status: 'succeeded' });
  });
});
