import { jest } from '@jest/globals';
import { ClaimRuns } from '../../src/heartbeat/claiming/claim-runs.js';
import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import { EndRuns } from '../../src/heartbeat/ending/end-runs.js';
import { Gate } from '../../src/heartbeat/claiming/gate.js';
import { ReapLeases } from '../../src/heartbeat/ending/reap-leases.js';
import { RenewLeases } from '../../src/leases/renew-leases.js';
import { holdTransaction } from '../support/held-transaction.js';
import { Scenario } from '../support/scenario.js';
import { startStillApp, Steps } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

describe(ReapLeases.name, () => {
  let app: TestApp;
  let user: Scenario;
  let steps: Steps;
  let companyId: string;

  beforeAll(async () => {
    app = await startStillApp();
    user = new Scenario(app.url);
    steps = new Steps(app);
  });
  beforeEach(async () => void (companyId = await user.company()));
  // What a test leaves waiting is nothing to the next.
  afterEach(() =>
    query(
      `update heartbeat_runs set status = 'cancelled', finished_at = now() where company_id = $1 and status = 'queued'`,
      companyId,
    ),
  );
  afterAll(() => app.close());

  const reap = () => app.get(ReapLeases).reap();
  const query = <Row extends object>(sql: string, ...parameters: unknown[]) => app.database.query<Row>(sql, parameters);
  const retriesOf = (run: ClaimedRun) =>
    query<{ id: string }>('select id from heartbeat_runs where retry_of_run_id = $1', run.id);

  /** A run of an agent of its own that a runner has started and will not end; on an issue of its own. */
  async function abandoned(): Promise<ClaimedRun> {
    const agentId = await user.agent(companyId, 'true');
    await user.wake(agentId, { payload: { issueId: await user.issue(companyId) } });
    return steps.started();
  }

  const expire = (...runs: ClaimedRun[]) =>
    query(
      `update environment_leases set expires_at = acquired_at + interval '1 ms' where id = any($1)`,
      runs.map(({ lease }) => lease.id),
    );

  /** Expects the run and its lease to be lost, and one retry to be waiting. */
  async function expectReaped(run: ClaimedRun): Promise<void> {
    expect(await user.run(run.id)).toMatchObject({ status: 'failed', errorCode: 'process_lost' });
    expect(await user.leases(run.id)).toMatchObject([{ status: 'expired', failureReason: expect.any(String) }]);
    expect(await retriesOf(run)).toHaveLength(1);
  }

  it('ends run and lease, records both ends and queues the retry, in one transaction', async () => {
    const run = await abandoned();
    await expire(run);
    expect(await reap()).toBe(1);
    await expectReaped(run);
    const actions = (await user.actions(companyId, run.id)).slice(-2);
    expect(actions).toEqual(['heartbeat.failed', 'environment.lease_expired']);
    const rows = await query<{ what: string; transaction: string }>(
      `select 'run' as what, xmin::text as transaction from heartbeat_runs where id = $1
       union all select 'lease', xmin::text from environment_leases where heartbeat_run_id = $1
       union all select action, tx::xid::text from activity_log where run_id = $1 and action = any($2)
       union all select 'retry', xmin::text from heartbeat_runs where retry_of_run_id = $1`,
      run.id,
      actions,
    );
    expect(rows.map(({ what }) => what)).toEqual(['run', 'lease', ...actions, 'retry']);
    expect(new Set(rows.map(({ transaction }) => transaction)).size).toBe(1);
  });

  it('makes no second retry when the first is lost, too', async () => {
    const run = await abandoned();
    await expire(run);
    await reap();
    const retry = await steps.started();
    expect([{ id: retry.id }]).toEqual(await retriesOf(run));
    await expire(retry);
    expect(await reap()).toBe(1);
    expect(await user.run(retry.id)).toMatchObject({ status: 'failed', errorCode: 'process_lost' });
    expect(await retriesOf(retry)).toEqual([]);
    expect(await steps.dispatch()).toBeNull();
  });

  it('cancels a run that was to be cancelled, and does not retry it', async () => {
    const run = await abandoned();
    await user.api.post(`/heartbeat-runs/${run.id}/cancel`, { reason: 'not needed' });
    await expire(run);
    expect(await reap()).toBe(1);
    expect(await user.run(run.id)).toMatchObject({ status: 'cancelled', error: 'not needed' });
    expect(await user.leases(run.id)).toMatchObject([{ status: 'released' }]);
    expect(await retriesOf(run)).toEqual([]);
  });

  it('ends a run as timed out, for good, whose lease reached the end of its lifetime', async () => {
    const [old, lost] = [await abandoned(), await abandoned()];
    await expire(old, lost);
    await query('update environment_leases set lifetime_ends_at = expires_at where id = $1', old.lease.id);
    expect(await reap()).toBe(2);
    expect(await user.run(old.id)).toMatchObject({ status: 'timed_out', errorCode: 'lease_lifetime' });
    expect(await user.leases(old.id)).toMatchObject([{ status: 'failed' }]);
    expect(await retriesOf(old)).toEqual([]);
    await expectReaped(lost);
  });

  /** A lease of no run, or a further one of a run, that has run out unless `fields` say otherwise. */
  async function leased(fields: { run?: ClaimedRun; expiresIn?: string; revokeIn?: string; lifetimeIn?: string } = {}) {
    const { run, expiresIn = '-1 s', revokeIn = null, lifetimeIn = '1 h' } = fields;
    const [{ id }] = await query<{ id: string }>(
      `insert into environment_leases (id, company_id, environment_id, heartbeat_run_id, run_lease_id, holder, status,
         provider, acquired_at, last_used_at, expires_at, lifetime_ends_at, revoke_at, revoke_reason)
       select gen_random_uuid(), $1, e.id, $2, $3, 'a test', 'active', 'local', now() - interval '1 h', now(),
         now() + $4::interval, now() + $5::interval, now() + $6::interval, case when $6 is not null then 'not needed' end
       from environments e where e.company_id = $1 limit 1 returning id`,
      companyId,
      run?.id ?? null,
      run?.lease.id ?? null,
      expiresIn,
      lifetimeIn,
      revokeIn,
    );
    return id;
  }
  const lease = async (id: string) =>
    (await query<object>('select status, failure_reason as reason from environment_leases where id = $1', id))[0];

  it('ends a reservation that ran out, or was revoked once its grace is over', async () => {
    await abandoned();
    const expired = await leased();
    const old = await leased({ lifetimeIn: '-1 s' });
    const revoked = await leased({ expiresIn: '1 h', revokeIn: '-1 s' });
    const both = await leased({ revokeIn: '-1 s' });
    const held = await leased({ expiresIn: '1 h' });
    const inGrace = await leased({ expiresIn: '1 h', revokeIn: '1 m' });
    expect(await reap()).toBe(4);
    expect(await lease(expired)).toEqual({ status: 'expired', reason: 'not renewed in time' });
    expect(await lease(old)).toEqual({ status: 'expired', reason: 'reached the end of its lifetime' });
    for (const id of [revoked, both]) expect(await lease(id)).toEqual({ status: 'released', reason: 'not needed' });
    for (const id of [held, inGrace]) expect(await lease(id)).toMatchObject({ status: 'active' });
  });

  it('ends a further lease of a run alone, and with the run when that is lost', async () => {
    const [alive, dead] = [await abandoned(), await abandoned()];
    const ofAlive = await leased({ run: alive });
    const ofDead = await leased({ run: dead, expiresIn: '1 h' });
    await expire(dead);
    expect(await reap()).toBe(2);
    expect(await lease(ofAlive)).toMatchObject({ status: 'expired' });
    expect(await user.run(alive.id)).toMatchObject({ status: 'running' });
    expect(await retriesOf(alive)).toEqual([]);
    expect(await lease(ofDead)).toMatchObject({ status: 'expired' });
    expect(await user.run(dead.id)).toMatchObject({ status: 'failed', errorCode: 'process_lost' });
  });

  it('leaves a run alone whose lease has not run out', async () => {
    const [dead, alive] = [await abandoned(), await abandoned()];
    await expire(dead);
    expect(await reap()).toBe(1);
    await expectReaped(dead);
    expect(await user.run(alive.id)).toMatchObject({ status: 'running' });
  });

  const renewal = `update environment_leases set expires_at = now() + interval '1 h' where heartbeat_run_id = $1`;

  it('looks again once it holds a run: its lease may have been renewed', async () => {
    const run = await abandoned();
    await expire(run);
    const endRuns = app.get(EndRuns);
    const hold = endRuns.tryLockOwnersOf.bind(endRuns);
    const lock = jest.spyOn(endRuns, 'tryLockOwnersOf').mockImplementationOnce(async (runIds) => {
      await query(renewal, run.id);
      return hold(runIds);
    });
    expect(await reap()).toBe(0);
    expect(lock).toHaveBeenCalledWith([run.id]);
    expect(await user.run(run.id)).toMatchObject({ status: 'running' });
  });

  it('leaves a run alone whose lease is being renewed', async () => {
    const run = await abandoned();
    await expire(run);
    const holder = await holdTransaction(app.database, renewal, [run.id]);
    expect(await reap()).toBe(0);
    await holder.commit();
    expect(await reap()).toBe(0);
    expect(await user.run(run.id)).toMatchObject({ status: 'running' });
  });

  it('renews nothing that has run out, reaped or not', async () => {
    const run = await abandoned();
    await expire(run);
    expect(await app.get(RenewLeases).renew([run.lease], 60)).toEqual(new Set([run.lease.id]));
    await reap();
    expect(await app.get(RenewLeases).renew([run.lease], 60)).toEqual(new Set([run.lease.id]));
    await expectReaped(run);
  });

  const holds: [what: string, sql: string][] = [
    ['the run', 'select 1 from heartbeat_runs where id = $1 for update'],
    ['the lease', 'select 1 from environment_leases where heartbeat_run_id = $1 for update'],
    ['the agent', 'select 1 from agents where id = (select agent_id from heartbeat_runs where id = $1) for update'],
    ['the issue', 'select 1 from issues where id = (select issue_id from heartbeat_runs where id = $1) for update'],
  ];
  it.each(holds)('does not wait for one run while somebody holds %s, and comes back to it', async (_what, hold) => {
    const [held, free] = [await abandoned(), await abandoned()];
    await expire(held, free);
    const holder = await holdTransaction(app.database, hold, [held.id]);
    expect(await reap()).toBe(1);
    await expectReaped(free);
    expect(await user.run(held.id)).toMatchObject({ status: 'running' });
    await holder.commit();
    expect(await reap()).toBe(1);
    await expectReaped(held);
  });

  it('ends the others where one cannot be ended', async () => {
    const runs = [await abandoned(), await abandoned(), await abandoned()];
    const [bad, ...others] = runs;
    await expire(...runs);
    await query(`create function refuse_end() returns trigger language plpgsql as $$ begin
      if new.id = '${bad.id}' then raise exception 'no end for this one'; end if; return new; end $$`);
    await query(`create trigger refuse_end before update on heartbeat_runs for each row execute function refuse_end()`);
    try {
      expect(await reap()).toBe(2);
    } finally {
      await query('drop function refuse_end cascade');
    }
    for (const run of others) await expectReaped(run);
    expect(await user.run(bad.id)).toMatchObject({ status: 'running' });
    expect(await user.leases(bad.id)).toMatchObject([{ status: 'active' }]);
    expect(await reap()).toBe(1);
    await expectReaped(bad);
  });

  describe('with very many', () => {
    const AGENTS = 10;
    const RUNS = 500;

    beforeEach(async () => {
      const runtimeConfig = { heartbeat: { maxConcurrentRuns: RUNS / AGENTS } };
      const agents = await Promise.all(
        Array.from({ length: AGENTS }, () => user.agent(companyId, 'true', { runtimeConfig })),
      );
      await query(
        `insert into heartbeat_runs (id, company_id, agent_id, wakeup_request_id, invocation_source, status)
         select gen_random_uuid(), $1, ($2::uuid[])[1 + n % ${AGENTS}], gen_random_uuid(), 'on_demand', 'queued'
         from generate_series(1, ${RUNS}) n`,
        companyId,
        agents,
      );
      const { candidates } = await app.get(Gate).candidates(RUNS);
      expect(await app.get(ClaimRuns).claim(candidates, RUNS)).toHaveLength(RUNS);
      await query(
        `update environment_leases set expires_at = acquired_at + interval '1 ms' where company_id = $1`,
        companyId,
      );
    });

    const counts = () =>
      query(
        `select (select count(*)::integer from heartbeat_runs where company_id = $1 and error_code = 'process_lost') as lost,
           (select count(*)::integer from heartbeat_runs where company_id = $1 and retry_of_run_id is not null) as retries,
           (select count(*)::integer from environment_leases where company_id = $1 and status = 'expired') as expired,
           (select count(*)::integer from activity_log where company_id = $1 and action = 'heartbeat.failed') as ends,
           (select count(*)::integer from activity_log
            where company_id = $1 and action = 'environment.lease_expired') as releases`,
        companyId,
      );
    const ALL_ONCE = [{ lost: RUNS, retries: RUNS, expired: RUNS, ends: RUNS, releases: RUNS }];

    it('ends them all, page by page', async () => {
      expect(await reap()).toBe(RUNS);
      expect(await counts()).toEqual(ALL_ONCE);
    });

    it('ends each once, whoever else reaps at the same time', async () => {
      const ended = await Promise.all([reap(), reap(), reap(), reap()]);
      const left = await reap();
      expect(ended.reduce((sum, count) => sum + count, left)).toBe(RUNS);
      expect(await counts()).toEqual(ALL_ONCE);
    });
  });

  it('passes nobody over between pages, whichever company a lease is of', async () => {
    const RUNS = 60;
    const runtimeConfig = { heartbeat: { maxConcurrentRuns: RUNS } };
    for (const _ of [1, 2]) await user.agent(await user.company(), 'true', { runtimeConfig });
    const [{ ids }] = await query<{ ids: string[] }>(
      `with made as (
         insert into heartbeat_runs (id, company_id, agent_id, wakeup_request_id, invocation_source, status)
         select gen_random_uuid(), a.company_id, a.id, gen_random_uuid(), 'on_demand', 'queued'
         from (select id, company_id from agents order by created_at desc limit 2) a, generate_series(1, ${RUNS / 2})
         returning id)
       select array_agg(id) as ids from made`,
    );
    const { candidates } = await app.get(Gate).candidates(RUNS);
    expect(await app.get(ClaimRuns).claim(candidates, RUNS)).toHaveLength(RUNS);
    await query(
      `update environment_leases set expires_at = acquired_at + interval '1 ms' where heartbeat_run_id = any($1)`,
      ids,
    );
    expect(await reap()).toBe(RUNS);
  });
});
