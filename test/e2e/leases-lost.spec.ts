import { jest } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { FinaliseService } from '../../src/heartbeat/execution/finalise.service.js';
import { ReapLeases } from '../../src/heartbeat/ending/reap-leases.js';
import { LeaseLostError } from '../../src/leases/lease-errors.js';
import { RenewLeases } from '../../src/leases/renew-leases.js';
import { isGroupRunning } from '../contracts/process-groups.js';
import { eventually } from '../support/eventually.js';
import { holdTransaction } from '../support/held-transaction.js';
import { startProxiedApp, Tally, type ProxiedApp } from '../support/proxied-app.js';
import { Scenario, type Run } from '../support/scenario.js';

const TTL_SEC = 2;
/** Longer than any test: what ends by then has been ended. */
const FOREVER = 'while :; do echo tick; sleep 0.05; done';

describe('the lease of a running run', () => {
  let app: ProxiedApp;
  let user: Scenario;
  let companyId: string;
  let tally: Tally;

  beforeAll(async () => {
    app = await startProxiedApp({ leaseTtlSec: TTL_SEC });
    user = new Scenario(app.url);
  });
  beforeEach(async () => {
    companyId = await user.company();
    tally = await Tally.create();
  });
  afterEach(async () => {
    app.proxy.comeBack();
    jest.restoreAllMocks();
    await tally.remove();
  });
  afterAll(() => app.close());

  /** An agent that runs the script the first time, and only adds to the tally after that. */
  const agentThatOnce = (script: string, adapterConfig: object = {}) =>
    user.agent(companyId, `${tally.add}; ${tally.isFirst} || exit 0; ${script}`, { adapterConfig });

  /** Wakes the agent and answers its run once its process has started. */
  async function started(agentId: string): Promise<{ run: Run; groupId: number }> {
    const { id } = await user.wake(agentId);
    const [group] = await eventually(
      () => app.database.query<{ id: number }>(GROUP_OF_RUN, [id]),
      (rows) => rows.length === 1,
    );
    await eventually(
      () => tally.count(),
      (count) => count === 1,
    );
    return { run: await user.run(id), groupId: group.id };
  }

  const gone = (groupId: number, withinMs: number) =>
    eventually(
      () => Promise.resolve(isGroupRunning(groupId)),
      (running) => !running,
      withinMs,
    );

  /** What comes of the next attempt to record an end: the error, or nothing. */
  const endOfNext = () =>
    new Promise<unknown>((resolve) => {
      const service = app.get(FinaliseService);
      const finalise = service.finalise.bind(service);
      jest.spyOn(service, 'finalise').mockImplementationOnce((...args) => {
        const end = finalise(...args);
        end.then(resolve, resolve);
        return end;
      });
    });

  /** Waits until so many others wait for a row that somebody holds. */
  const waiting = (count: number) =>
    eventually(
      () =>
        app.database.query(
          `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
        ),
      (sessions) => sessions.length === count,
    );

  const expire = (runId: string) =>
    app.database.query(
      `update environment_leases set expires_at = acquired_at + interval '1 ms' where heartbeat_run_id = $1`,
      [runId],
    );

  /** Whatever the record says of a run, its log included. */
  const recordOf = async (runId: string) => ({
    run: await user.run(runId),
    leases: await user.leases(runId),
    log: await user.log(runId),
    actions: await user.actions(companyId, runId),
  });

  /** Expects the run and its lease to have been reaped, and that exactly one retry has run. */
  async function expectReapedAndRetried(runId: string): Promise<void> {
    expect(await user.ended(runId)).toMatchObject({ status: 'failed', errorCode: 'process_lost' });
    expect(await user.leases(runId)).toMatchObject([{ status: 'expired' }]);
    const all = await eventually(
      () => app.database.query<{ id: string }>(RUNS_OF_COMPANY, [companyId]),
      (runs) => runs.length === 2,
    );
    const retry = await user.ended(all[1].id);
    expect(retry).toMatchObject({ status: 'succeeded', retryOfRunId: runId });
    expect(await tally.count()).toBe(2);
    expect(await app.database.query(RUNS_OF_COMPANY, [companyId])).toHaveLength(2);
  }

  it('is renewed for as long as the run takes', async () => {
    const { id } = await user.wake(await user.agent(companyId, 'sleep 5'));
    expect(await user.ended(id)).toMatchObject({ status: 'succeeded' });
    expect(await user.leases(id)).toMatchObject([{ status: 'released' }]);
  });

  it('is not renewed with a token that is not its own', async () => {
    const { run, groupId } = await started(await agentThatOnce(FOREVER));
    const [lease] = await user.leases(run.id);
    const fencingToken = lease.fencingToken + 1;
    expect(await app.get(RenewLeases).renew([{ id: lease.id, fencingToken }], 3600)).toEqual(new Set([lease.id]));
    const answer = await user.api.post(`/environment-leases/${lease.id}/renew`, { fencingToken, ttlSec: 3600 });
    expect(answer).toMatchObject({ status: 410, body: { code: 'lease_lost' } });
    const [after] = await user.leases(run.id);
    expect(Date.parse(after.expiresAt)).toBeLessThan(Date.now() + 2 * TTL_SEC * 1000);
    await user.api.post(`/heartbeat-runs/${run.id}/cancel`);
    await user.ended(run.id);
    expect(isGroupRunning(groupId)).toBe(false);
  });

  it('taken away by an operator ends its process, which writes nothing any more', async () => {
    const end = endOfNext();
    const { run, groupId } = await started(await agentThatOnce(FOREVER));
    const [lease] = await user.leases(run.id);
    await user.api.post(`/environment-leases/${lease.id}/release`, { force: true, reason: 'needed elsewhere' });
    const record = await recordOf(run.id);
    expect(record.run).toMatchObject({ status: 'cancelled', error: 'needed elsewhere' });
    expect(record.leases).toMatchObject([{ status: 'released' }]);
    await gone(groupId, 5_000);
    expect(await end).toBeInstanceOf(LeaseLostError);
    expect(await recordOf(run.id)).toEqual(record);
  });

  it('taken away just after its holder recorded the end changes nothing of that', async () => {
    const { run } = await started(await agentThatOnce(tally.untilTold));
    const [lease] = await user.leases(run.id);
    // Both ask for the run's row, and get it in the order in which they asked.
    const holder = await holdTransaction(app.database, 'select 1 from heartbeat_runs where id = $1 for update', [
      run.id,
    ]);
    await tally.goOn();
    await waiting(1);
    const release = user.api.post(`/environment-leases/${lease.id}/release`, { force: true });
    await waiting(2);
    await holder.commit();
    expect((await release).status).toBe(200);
    expect(await user.run(run.id)).toMatchObject({ status: 'succeeded', exitCode: 0 });
    const actions = await user.actions(companyId, run.id);
    expect(actions.slice(-2)).toEqual(['heartbeat.succeeded', 'environment.lease_released']);
  });

  it('run out behind its back ends its process, and the run is retried once', async () => {
    const { run, groupId } = await started(await agentThatOnce(FOREVER));
    await expire(run.id);
    await expectReapedAndRetried(run.id);
    await gone(groupId, 5_000);
  });

  it('run out and not reaped yet takes no end from its holder', async () => {
    const reap = jest.spyOn(app.get(ReapLeases), 'reap').mockResolvedValue(0);
    const end = endOfNext();
    const { run } = await started(await agentThatOnce(tally.untilTold));
    await expire(run.id);
    await tally.goOn();
    expect(await end).toBeInstanceOf(LeaseLostError);
    expect(await user.run(run.id)).toMatchObject({ status: 'running', exitCode: null });
    reap.mockRestore();
    await expectReapedAndRetried(run.id);
  });

  it.each(['goAway', 'stall'] as const)(
    'that cannot be renewed in time ends its process at the deadline, whatever that thinks of it: %s',
    async (disturb) => {
      // It would be left fifty more seconds for its end, but not without its lease.
      const script = `trap '' TERM; ${FOREVER}`;
      const { run, groupId } = await started(await agentThatOnce(script, { graceSec: 50 }));
      app.proxy[disturb]();
      await gone(groupId, TTL_SEC * 1000 + 1_500);
      await delay(TTL_SEC * 1000);
      app.proxy.comeBack();
      await expectReapedAndRetried(run.id);
      expect(await user.actions(companyId, run.id)).toEqual([
        'heartbeat.invoked',
        'environment.lease_acquired',
        'heartbeat.started',
        'heartbeat.failed',
        'environment.lease_expired',
      ]);
    },
  );
});

describe('a lease of a minute that an operator takes away', () => {
  let app: ProxiedApp;
  beforeAll(async () => void (app = await startProxiedApp({ leaseTtlSec: 60 })));
  afterAll(() => app.close());

  it('ends its process long before it would have been renewed', async () => {
    const user = new Scenario(app.url);
    const { id } = await user.wake(await user.agent(await user.company(), 'sleep 61'));
    const [group] = await eventually(
      () => app.database.query<{ id: number }>(GROUP_OF_RUN, [id]),
      (rows) => rows.length === 1,
    );
    await user.api.post(`/heartbeat-runs/${id}/leases/release`, { force: true });
    await eventually(
      () => Promise.resolve(isGroupRunning(group.id)),
      (running) => !running,
      3_000,
    );
  });
});

const GROUP_OF_RUN = 'select process_group_id as id from heartbeat_runs where id = $1 and process_group_id is not null';
const RUNS_OF_COMPANY = 'select id from heartbeat_runs where company_id = $1 order by id';
