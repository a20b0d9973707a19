import { jest } from '@jest/globals';
import { ReapLeases } from '../../src/heartbeat/ending/reap-leases.js';
import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import type { ApiClient } from '../support/api-client.js';
import { eventually } from '../support/eventually.js';
import { anyDriverIsLocal, Fleet } from '../support/fleet.js';
import { HandRunner } from '../support/hand-runner.js';
import { holdTransaction } from '../support/held-transaction.js';
import { Callers, type Reserved } from '../support/reservations.js';
import type { Lease } from '../support/scenario.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

/** No runner here: the run that wants more than its own place starts and ends by the test's hand. */
describe('a further lease of a running run', () => {
  let app: TestApp;
  let fleet: Fleet;
  let runner: HandRunner;
  let callers: Callers;
  let run: ClaimedRun;
  let byRun: ApiClient;

  beforeAll(async () => {
    app = await startStillApp();
    runner = new HandRunner(app);
  });
  afterAll(() => app.close());
  beforeEach(async () => {
    anyDriverIsLocal(app);
    fleet = new Fleet(app, await new Fleet(app, '').user.company());
    const environmentId = await fleet.create('environments', { name: 'test rig', driver: 'other', capacity: 1 });
    callers = new Callers(app, fleet.user.api, fleet.companyId, environmentId);
    run = await running();
    byRun = fleet.user.api.as(run.token);
  });
  afterEach(() => jest.restoreAllMocks());

  const running = async () => {
    const agentId = await fleet.agent();
    await fleet.wake(agentId, 1);
    return runner.started(agentId);
  };
  const ask = (fields: object = {}, by = byRun) => callers.ask({ holder: undefined, ...fields }, by);
  const acquire = async (fields: object = {}): Promise<Reserved> =>
    callers.acquire({ holder: undefined, ...fields }, byRun);
  const release = (id: string, body: object = {}, by = byRun) =>
    by.post<{ status: string; code: string }>(`/environment-leases/${id}/release`, body);
  const firstLease = async () => (await fleet.user.leases(run.id)).find(({ id }) => id === run.lease.id)!;
  const waitingForLocks = (count: number) =>
    eventually(
      () =>
        app.database.query(
          `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
        ),
      (sessions) => sessions.length === count,
    );
  const row = async (id: string) =>
    (await app.database.query<Record<string, unknown>>('select * from environment_leases where id = $1', [id]))[0];

  it('is asked for with its token, and is held by it', async () => {
    const lease = await acquire({ metadata: { rig: 7 } });
    expect(lease).toMatchObject({ heartbeatRunId: run.id, holder: `run:${run.id}`, metadata: { rig: 7 } });
    expect(await row(lease.id)).toMatchObject({ run_lease_id: run.lease.id, slot: 1, place_id: null });
    const { body } = await fleet.user.api.get<Lease[]>(`/heartbeat-runs/${run.id}/leases`);
    expect(body.map(({ id }) => id)).toEqual([lease.id, run.lease.id]);
    const entries = `select actor_type, actor_id, agent_id, run_id from activity_log where entity_id = $1`;
    expect(await app.database.query(entries, [lease.id])).toEqual([
      { actor_type: 'agent', actor_id: run.agentId, agent_id: run.agentId, run_id: run.id },
    ]);
  });

  it('takes up room like any other', async () => {
    await acquire();
    expect(await ask()).toMatchObject({ status: 409, body: { code: 'environment_at_capacity' } });
    expect(await callers.ask()).toMatchObject({
      status: 409,
      body: { details: { heldBy: [{ heartbeatRunId: run.id }] } },
    });
  });

  it('lasts as long as the run can, and ends with it', async () => {
    const lease = await acquire();
    const [first, further] = [await row(run.lease.id), await row(lease.id)];
    const left = (first.lifetime_ends_at as Date).getTime() - (further.expires_at as Date).getTime();
    expect(left).toBeGreaterThanOrEqual(0);
    expect(left).toBeLessThan(2000);
    expect(further.expires_at).toEqual(further.lifetime_ends_at);
    await runner.end(run);
    expect(await callers.lease(lease.id)).toMatchObject({ status: 'released' });
    expect(await callers.ask()).toMatchObject({ status: 201 });
  });

  it('ends with a run that is lost', async () => {
    const lease = await acquire();
    await runner.lose(run);
    expect(await callers.lease(lease.id)).toMatchObject({ status: 'expired' });
  });

  it('that is to be renewed is renewed with its own token, and expires alone', async () => {
    const { id, fencingToken } = await acquire({ ttlSec: 30 });
    const renewed = await byRun.post<Lease>(`/environment-leases/${id}/renew`, { fencingToken, ttlSec: 90 });
    expect(Date.parse(renewed.body.expiresAt)).toBeGreaterThan(Date.now() + 60_000);
    await app.database.query(`update environment_leases set expires_at = acquired_at + interval '1 ms' where id = $1`, [
      id,
    ]);
    expect(await byRun.post(`/environment-leases/${id}/renew`, { fencingToken })).toMatchObject({ status: 410 });
    await app.get(ReapLeases).reap();
    expect(await callers.lease(id)).toMatchObject({ status: 'expired' });
    expect(await fleet.user.run(run.id)).toMatchObject({ status: 'running' });
    expect(await firstLease()).toMatchObject({ status: 'active' });
  });

  it('can be released before its run ends; the first one cannot', async () => {
    const { id, fencingToken } = await acquire();
    expect(await release(id)).toMatchObject({ status: 403, body: { code: 'fencing_token_required' } });
    expect(await release(id, { fencingToken: fencingToken + 1 })).toMatchObject({ status: 410 });
    expect(await release(id, { fencingToken })).toMatchObject({ status: 200, body: { status: 'released' } });
    const first = await release(run.lease.id, { fencingToken: run.lease.fencingToken });
    expect(first).toMatchObject({ status: 409, body: { code: 'lease_held_by_run' } });
    expect(await fleet.user.run(run.id)).toMatchObject({ status: 'running' });
  });

  it('is released together with the first one only by force, and the run ends with them', async () => {
    await acquire();
    const all = (body: object) => fleet.user.api.post<Lease[]>(`/heartbeat-runs/${run.id}/leases/release`, body);
    expect(await all({})).toMatchObject({ status: 409, body: { code: 'lease_held_by_run' } });
    expect((await fleet.user.leases(run.id)).map(({ status }) => status)).toEqual(['active', 'active']);
    expect((await all({ force: true })).body.map(({ status }) => status)).toEqual(['released', 'released']);
    expect(await fleet.user.run(run.id)).toMatchObject({ status: 'cancelled' });
  });

  it('is for the run itself to ask for, or for an operator who names it', async () => {
    const other = await running();
    expect(await ask({ heartbeatRunId: run.id })).toMatchObject({ status: 201 });
    expect(await ask({ heartbeatRunId: other.id })).toMatchObject({ status: 403, body: { code: 'run_mismatch' } });
    await runner.end(run);
    expect(await ask({ heartbeatRunId: other.id, holder: 'a second rig' }, fleet.user.api)).toMatchObject({
      status: 201,
      body: { heartbeatRunId: other.id, holder: 'a second rig' },
    });
    expect(await ask({ heartbeatRunId: run.id }, fleet.user.api)).toMatchObject({
      status: 409,
      body: { code: 'run_not_running' },
    });
    expect(await ask()).toMatchObject({ status: 401 });
  });

  it('is not given to a run whose own lease has run out', async () => {
    const sql = `update environment_leases set expires_at = acquired_at + interval '1 ms' where id = $1`;
    await app.database.query(sql, [run.lease.id]);
    expect(await ask()).toMatchObject({ status: 409, body: { code: 'run_not_running' } });
  });

  it('is not given to a run that is just being ended', async () => {
    const held = await holdTransaction(app.database, 'select 1 from environment_leases where id = $1 for update', [
      run.lease.id,
    ]);
    const ended = runner.end(run);
    await held.blocksSomebody();
    const answer = ask({ heartbeatRunId: run.id }, fleet.user.api);
    await waitingForLocks(2);
    await held.commit();
    await ended;
    expect(await answer).toMatchObject({ status: 409, body: { code: 'run_not_running' } });
  });

  it('that is just being given is ended by the end of its run, which waits for it', async () => {
    const held = await holdTransaction(app.database, 'select 1 from environments where id = $1 for update', [
      callers.environmentId,
    ]);
    const answer = ask();
    await held.blocksSomebody();
    const ended = runner.end(run);
    await waitingForLocks(2);
    await held.commit();
    expect(await answer).toMatchObject({ status: 201, body: { status: 'active' } });
    await ended;
    expect((await fleet.user.leases(run.id)).map(({ status }) => status)).toEqual(['released', 'released']);
  });

  it('is waited for no longer than its run runs', async () => {
    const lease = await callers.acquire({}, fleet.user.api);
    const further = await callers.queue('further', { heartbeatRunId: run.id, waitSec: 300 });
    await runner.end(run);
    expect(await further.answer).toMatchObject({ status: 409, body: { code: 'run_not_running' } });
    await callers.release(lease);
  });
});
