import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { jest } from '@jest/globals';
import { drain } from '../../src/bootstrap.js';
import { Runner } from '../../src/heartbeat/execution/runner.js';
import { RunnerIdentity } from '../../src/heartbeat/runs/runner-identity.js';
import { isGroupRunning } from '../contracts/process-groups.js';
import { ApiClient } from '../support/api-client.js';
import { eventually } from '../support/eventually.js';
import { holdTransaction } from '../support/held-transaction.js';
import { DatabaseProxy } from '../support/database-proxy.js';
import { Tally } from '../support/proxied-app.js';
import { Scenario, type Run } from '../support/scenario.js';
import { startTestApp, type TestApp } from '../support/test-app.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

describe('an application that is closed', () => {
  let database: TestDatabase;
  let api: TestApp;
  let user: Scenario;
  let companyId: string;
  const runners: TestApp[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
    api = await startTestApp({ database, config: { roles: new Set(['api']) } });
    user = new Scenario(api.url);
  });
  beforeEach(async () => void (companyId = await user.company()));
  afterEach(async () => {
    await Promise.all(runners.splice(0).map((runner) => runner.close()));
    // What a test leaves waiting is nothing to the next.
    await database.query(`update heartbeat_runs set status = 'cancelled', finished_at = now() where status = 'queued'`);
  });
  afterAll(async () => {
    await api.close();
    await database.close();
  });

  /** A runner that is closed at the end of the test at the latest. */
  async function startRunner(config = {}): Promise<TestApp> {
    const runner = await startTestApp({ database, config: { roles: new Set(['runner']), ...config } });
    let closed: Promise<void> | undefined;
    const once = { ...runner, close: () => (closed ??= runner.close()) };
    runners.push(once);
    return once;
  }

  async function started(agentId: string): Promise<{ run: Run; groupId: number }> {
    const { id } = await user.wake(agentId);
    const [group] = await eventually(
      () => database.query<{ id: number }>('select process_group_id as id from heartbeat_runs where id = $1', [id]),
      ([row]) => typeof row?.id === 'number',
    );
    return { run: await user.run(id), groupId: group.id };
  }

  const retryOf = async (runId: string) => {
    const rows = await database.query<{ id: string }>('select id from heartbeat_runs where retry_of_run_id = $1', [
      runId,
    ]);
    expect(rows).toHaveLength(1);
    return user.run(rows[0].id);
  };

  /** Expects a run to have been ended and queued again by a shutdown. */
  async function expectHandedOn(runId: string): Promise<Run> {
    expect(await user.run(runId)).toMatchObject({ status: 'failed', errorCode: 'runner_shutdown' });
    expect(await user.leases(runId)).toMatchObject([{ status: 'released' }]);
    const retry = await retryOf(runId);
    expect(retry).toMatchObject({ status: 'queued' });
    return retry;
  }

  describe('and was asked to stop before', () => {
    const NEVER = new AbortController().signal;

    it('lets runs end by themselves, holding their leases, and claims nothing meanwhile', async () => {
      const runner = await startRunner({ drainSec: 60, leaseTtlSec: 2 });
      const health = new ApiClient(runner.url);
      const finish = path.join(runner.config.home, 'finish');
      const { run } = await started(await user.agent(companyId, `until [ -e '${finish}' ]; do sleep 0.05; done`));
      expect(await health.get('/health/ready')).toMatchObject({ status: 200, body: { status: 'ok' } });

      const drained = drain(runner.app, NEVER);
      expect(await health.get('/health/ready')).toMatchObject({
        status: 503,
        body: { status: 'draining', code: 'draining', database: 'reachable' },
      });
      expect(await health.get('/health')).toMatchObject({ status: 200, body: { status: 'ok' } });
      const next = await user.wake(await user.agent(companyId, 'true'));
      const [{ expiresAt }] = await user.leases(run.id);
      await eventually(
        () => user.leases(run.id),
        ([lease]) => lease.expiresAt > expiresAt,
      );
      await writeFile(finish, '');
      await drained;
      expect(await user.run(run.id)).toMatchObject({ status: 'succeeded' });
      expect(await user.run(next.id)).toMatchObject({ status: 'queued' });
      await startRunner();
      expect(await user.ended(next.id)).toMatchObject({ status: 'succeeded' });
    });

    it('can be told to cancel a run that it waits for', async () => {
      const runner = await startRunner({ drainSec: 60 });
      const { run } = await started(await user.agent(companyId, 'sleep 61'));
      const drained = drain(runner.app, NEVER);
      await user.api.post(`/heartbeat-runs/${run.id}/cancel`);
      await drained;
      expect(await user.run(run.id)).toMatchObject({ status: 'cancelled' });
    });

    it('waits no longer than it may, or than somebody wants; what it ends then goes on elsewhere at once', async () => {
      const runner = await startRunner({ drainSec: 1 });
      const tally = await Tally.create();
      const agentId = await user.agent(companyId, `${tally.add}; ${tally.isFirst} || exit 0; sleep 61`);
      const { run } = await started(agentId);
      const other = await startRunner();
      const since = performance.now();
      await drain(runner.app, NEVER);
      expect(performance.now() - since).toBeGreaterThanOrEqual(990);
      expect(await user.run(run.id)).toMatchObject({ status: 'running' });
      await runner.close();
      const { id, host } = runner.get(RunnerIdentity);
      expect(await user.run(run.id)).toMatchObject({
        status: 'failed',
        errorCode: 'runner_shutdown',
        error: `The runner ${id} on ${host} was shut down before the run had ended`,
      });
      const retry = await user.ended((await retryOf(run.id)).id);
      expect(retry).toMatchObject({ status: 'succeeded', runnerId: other.get(RunnerIdentity).id });
      const [{ gap }] = await database.query<{ gap: number }>(
        `select extract(epoch from b.started_at - a.finished_at)::float8 as gap from heartbeat_runs a
         join heartbeat_runs b on b.retry_of_run_id = a.id where a.id = $1`,
        [run.id],
      );
      expect(gap).toBeLessThan(1);
      await tally.remove();

      await started(await user.agent(companyId, 'sleep 61'));
      const enough = new AbortController();
      const askedAt = performance.now();
      const drained = drain(other.app, enough.signal);
      enough.abort();
      await drained;
      expect(performance.now() - askedAt).toBeLessThan(other.config.drainSec * 500);
    });
  });

  it('ends what it runs, process tree included, and leaves it to be run again', async () => {
    const runner = await startRunner();
    const tally = await Tally.create();
    const once = await user.agent(companyId, `${tally.add}; ${tally.isFirst} || exit 0; sleep 61 & sleep 61`);
    const { run, groupId } = await started(once);
    await runner.close();
    expect(isGroupRunning(groupId)).toBe(false);
    const retry = await expectHandedOn(run.id);
    expect(await user.actions(companyId, run.id)).toEqual([
      'heartbeat.invoked',
      'environment.lease_acquired',
      'heartbeat.started',
      'heartbeat.failed',
      'environment.lease_released',
    ]);

    await startRunner();
    expect(await user.ended(retry.id)).toMatchObject({ status: 'succeeded' });
    expect(await tally.count()).toBe(2);
    await tally.remove();
  });

  it('lets a process finish in its grace, whose own success stands', async () => {
    const runner = await startRunner();
    const { run } = await started(await user.agent(companyId, `trap 'exit 0' TERM; echo ready; sleep 61 & wait`));
    await eventually(
      () => user.log(run.id),
      (log) => log === 'ready\n',
    );
    await runner.close();
    expect(await user.run(run.id)).toMatchObject({ status: 'succeeded', exitCode: 0 });
    expect(await database.query('select 1 from heartbeat_runs where company_id = $1', [companyId])).toHaveLength(1);
  });

  it('ends a run, too, that it was claiming just then', async () => {
    const runner = await startRunner();
    const stop = jest.spyOn(runner.get(Runner), 'beforeApplicationShutdown');
    const agentId = await user.agent(companyId, 'sleep 61');
    const held = await holdTransaction(database, 'lock table environment_leases in share row exclusive mode');
    const { id } = await user.wake(agentId);
    await held.blocksSomebody();
    const closed = runner.close();
    await eventually(
      () => Promise.resolve(stop.mock.calls.length),
      (calls) => calls === 1,
    );
    // It has begun to stop and found nothing that runs.
    await held.commit();
    await closed;
    await expectHandedOn(id);
  });

  it('does not wait for a database that is away for longer than its leases last', async () => {
    const proxy = await DatabaseProxy.start(database.url);
    const runner = await startRunner({ databaseUrl: proxy.url, leaseTtlSec: 2 });
    const { groupId } = await started(await user.agent(companyId, 'sleep 61'));
    proxy.goAway();
    const since = performance.now();
    await runner.close();
    expect(performance.now() - since).toBeLessThan(5_000);
    expect(isGroupRunning(groupId)).toBe(false);
    await proxy.close();
  });
});
