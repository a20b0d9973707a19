import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { isGroupRunning } from '../contracts/process-groups.js';
import { ApiClient } from '../support/api-client.js';
import { eventually } from '../support/eventually.js';
import { Tally } from '../support/proxied-app.js';
import { Scenario, type Lease, type Run } from '../support/scenario.js';
import { ServerProcess, startServerProcess } from '../support/server-process.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

interface StartedRun extends Run {
  runnerId: string;
  processGroupId: number;
}

interface Runner {
  id: string;
  host: string;
  pid: number;
  state: string;
  running: number;
}

describe('one process that serves the API, and three that execute runs', () => {
  let database: TestDatabase;
  let api: ServerProcess;
  let runners: ServerProcess[];
  let user: Scenario;
  let companyId: string;
  let tally: Tally;
  const groups: number[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
    const shared = { BERTH_DATABASE_URL: database.url, BERTH_LEASE_TTL_SEC: '3', BERTH_DRAIN_SEC: '600' };
    api = await startServerProcess({ ...shared, BERTH_ROLES: 'api' });
    const ofRunner = { ...shared, BERTH_ROLES: 'runner', BERTH_PUBLIC_URL: api.url, BERTH_RUNNER_SLOTS: '2' };
    runners = await Promise.all([1, 2, 3].map(() => startServerProcess(ofRunner)));
    user = new Scenario(api.url);
    companyId = await user.company();
    tally = await Tally.create();
  });
  afterAll(async () => {
    await Promise.all([api, ...runners].map((server) => server.kill9()));
    for (const group of groups) if (isGroupRunning(group)) process.kill(-group, 'SIGKILL');
    await tally.remove();
    await database.close();
  });

  const list = async (query = '') => (await user.api.get<Runner[]>(`/admin/runners${query}`)).body;

  /** A run whose process is there, with the process that executes it. */
  async function started(script: string, adapterConfig = {}) {
    const { id } = await user.wake(await user.agent(companyId, script, { adapterConfig }));
    const run = await eventually(
      () => user.run(id) as Promise<StartedRun>,
      ({ processGroupId }) => processGroupId !== null,
    );
    groups.push(run.processGroupId);
    const runner = (await list()).find((one) => one.id === run.runnerId)!;
    return { id, run, runner, server: runners.find(({ pid }) => pid === runner.pid)! };
  }

  /** The run again, elsewhere: executed, and with success. */
  async function retriedElsewhere({ id, run }: { id: string; run: StartedRun }): Promise<void> {
    const retry = await eventually(
      async () => (await user.api.get<StartedRun[]>(`/companies/${companyId}/heartbeat-runs`)).body,
      (runs) => runs.some(({ retryOfRunId, status }) => retryOfRunId === id && status === 'succeeded'),
    ).then((runs) => runs.find(({ retryOfRunId }) => retryOfRunId === id)!);
    expect(retry.runnerId).not.toBe(run.runnerId);
  }

  it('are all there, each on a host of its own as far as its home says', async () => {
    const seen = await list('?state=live');
    expect(seen.map(({ pid }) => pid).toSorted()).toEqual(runners.map(({ pid }) => pid).toSorted());
    expect(new Set(seen.map(({ host }) => host)).size).toBe(3);
  });

  it('stop a run that another process is asked to cancel, whose log that one shows meanwhile', async () => {
    const { id, run, runner } = await started('echo begun; sleep 60');
    await eventually(
      () => user.log(id),
      (log) => log === 'begun\n',
    );
    expect(await user.run(id)).toMatchObject({ status: 'running' });
    expect(await user.leases(id)).toMatchObject([{ runnerId: runner.id, host: runner.host }]);
    await user.api.post(`/heartbeat-runs/${id}/cancel`);
    expect(await user.ended(id)).toMatchObject({ status: 'cancelled' });
    expect(isGroupRunning(run.processGroupId)).toBe(false);
  });

  it('stop a run whose time is over, and the runs of an agent that another process pauses', async () => {
    const late = await started('sleep 60', { timeoutSec: 1 });
    const paused = await started('sleep 60');
    await user.api.post(`/agents/${paused.run.agentId}/pause`);
    expect(await user.ended(paused.id)).toMatchObject({ status: 'cancelled' });
    expect(await user.ended(late.id)).toMatchObject({ status: 'timed_out', error: 'Timed out after 1 seconds' });
  });

  it('let a run end by itself where the process is asked to stop, and start others elsewhere', async () => {
    const finish = path.join(api.home, 'finish');
    const { id, runner, server } = await started(`until [ -e '${finish}' ]; do sleep 0.05; done`);
    const ended = server.stop();
    await eventually(list, (seen) => seen.some((one) => one.id === runner.id && one.state === 'draining'));
    expect(await new ApiClient(server.url).get('/health/ready')).toMatchObject({
      status: 503,
      body: { code: 'draining' },
    });
    for (let other = 0; other < 3; other++) {
      expect((await started('sleep 0.2')).runner.id).not.toBe(runner.id);
    }
    expect(await list('?state=draining')).toMatchObject([{ id: runner.id, running: 1 }]);
    await writeFile(finish, '');
    expect(await ended).toBe('SIGTERM');
    expect(await user.run(id)).toMatchObject({ status: 'succeeded' });
    expect(await list('?state=stopped')).toMatchObject([{ id: runner.id, running: 0 }]);
  });

  it('take over from one that was killed, and say so', async () => {
    const lost = await started(`${tally.add}; ${tally.isFirst} || exit 0; sleep 60`);
    await lost.server.kill9();
    const { id, host } = lost.runner;
    expect(await user.ended(lost.id)).toMatchObject({
      status: 'failed',
      errorCode: 'process_lost',
      error:
        `The runner ${id} on ${host} stopped renewing the lease: ` +
        'it was killed, is frozen, or cannot reach the database',
    });
    const [lease] = await user.leases(lost.id);
    expect(lease satisfies Lease).toMatchObject({ status: 'expired', runnerId: id, host });
    await retriedElsewhere(lost);
    // The clock moves on.
    await database.query(`update runners set last_seen_at = last_seen_at - interval '15 s' where id = $1`, [id]);
    expect(await list('?state=lost')).toMatchObject([{ id, running: 0 }]);
  });

  it('wait no longer when they are asked again, which a signal that npm passes on does not', async () => {
    const { id, run, runner, server } = await started('sleep 60');
    const asked = performance.now();
    void server.stop('SIGINT');
    void server.stop('SIGINT');
    await eventually(list, (seen) => seen.some((one) => one.id === runner.id && one.state === 'draining'));
    await eventually(
      () => {
        void server.stop('SIGINT');
        return Promise.resolve(server.hasEnded);
      },
      (hasEnded) => hasEnded,
    );
    expect(performance.now() - asked).toBeGreaterThanOrEqual(1000);
    expect(await server.ended).toBe('SIGINT');
    expect(isGroupRunning(run.processGroupId)).toBe(false);
    expect(await user.run(id)).toMatchObject({
      status: 'failed',
      errorCode: 'runner_shutdown',
      error: `The runner ${runner.id} on ${runner.host} was shut down before the run had ended`,
    });
  });
});
