import { EntityManager } from '@mikro-orm/postgresql';
import { inTransaction } from '../../src/database/transaction.js';
import { systemActor } from '../../src/events/actor.js';
import { runInScope } from '../../src/events/request-scope.js';
import { ReapLeases } from '../../src/heartbeat/ending/reap-leases.js';
import { TerminalTransitions } from '../../src/heartbeat/ending/terminal-transitions.js';
import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import type { Refusal } from '../support/api-client.js';
import { HandRunner, OUTCOMES } from '../support/hand-runner.js';
import { holdTransaction } from '../support/held-transaction.js';
import { Scenario, type ActivityEntry } from '../support/scenario.js';
import { startStillApp } from '../support/still-app.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

interface Revoked extends Refusal {
  revoked: number;
  endingAnyway: number;
  truncated: boolean;
  leases: { leaseId: string; heartbeatRunId: string | null; holder: string; endsAt: string }[];
}

const HOUR = 3600;

describe('a revocation of leases', () => {
  let app: TestApp;
  let user: Scenario;
  let hand: HandRunner;
  let companyId: string;

  beforeAll(async () => {
    app = await startStillApp();
    user = new Scenario(app.url);
    hand = new HandRunner(app);
  });
  beforeEach(async () => void (companyId = await user.company()));
  afterAll(() => app.close());

  const revoke = (body: object) => user.api.post<Revoked>('/admin/leases/revoke', body);
  const started = async (company = companyId) => {
    const agentId = await user.agent(company, 'true');
    await user.wake(agentId);
    return hand.started(agentId);
  };
  /** Lets the grace of a wish be over. */
  const passGrace = (runId: string) =>
    app.database.query(`update heartbeat_runs set cancel_at = now() - interval '1 s' where id = $1`, [runId]);
  const reserve = async (environmentId: string, count = 1) => {
    const rows = await app.database.query<{ id: string }>(
      `insert into environment_leases (id, company_id, environment_id, holder, status, provider, acquired_at,
         last_used_at, expires_at, lifetime_ends_at)
       select gen_random_uuid(), e.company_id, e.id, 'the build farm', 'active', e.driver, now(), now(),
         now() + interval '1 h', now() + interval '1 d'
       from environments e, generate_series(1, $2::integer) where e.id = $1 returning id`,
      [environmentId, count],
    );
    return rows.map(({ id }) => id);
  };
  const lease = async (leaseId: string) => {
    const [row] = await app.database.query<Record<string, unknown>>('select * from environment_leases where id = $1', [
      leaseId,
    ]);
    return row;
  };
  const activity = async (query: string) =>
    (await user.api.get<ActivityEntry[]>(`/companies/${companyId}/activity?${query}`)).body;
  const idOf: Record<string, (run: ClaimedRun) => string> = {
    environmentId: (run) => run.environment.id,
    companyId: (run) => run.companyId,
    runId: (run) => run.id,
    leaseId: (run) => run.lease.id,
  };

  describe.each(Object.keys(idOf))('by %s', (scope) => {
    it('ends the run that holds one, whatever it comes to, and nothing follows', async () => {
      const [run, other] = [await started(), await started(await user.company())];
      const { status, body } = await revoke({ [scope]: idOf[scope](run), reason: 'the box burns' });
      const one = { leaseId: run.lease.id, heartbeatRunId: run.id, holder: `run:${run.id}` };
      expect(status).toBe(200);
      expect(body).toMatchObject({ revoked: 1, endingAnyway: 0, truncated: false, leases: [one] });
      await hand.end(run, OUTCOMES.shutdown);
      expect(await hand.row(run.id)).toMatchObject({
        status: 'cancelled',
        error_code: 'lease_revoked',
        error: 'the box burns',
      });
      expect(await lease(run.lease.id)).toMatchObject({ status: 'released' });
      expect(await hand.successorsOf(run.id)).toEqual([]);
      expect(await hand.row(other.id)).toMatchObject({ cancel_at: null });
    });
  });

  it('by runnerId ends what that runner holds', async () => {
    const run = await started();
    const { runner_id: runnerId } = await lease(run.lease.id);
    expect(await revoke({ runnerId })).toMatchObject({ status: 404, body: { code: 'not_found' } });
    await app.database.query(
      `insert into runners (id, host, host_name, pid, slots, version) values ($1, 'h', 'h', 1, 1, '1')`,
      [runnerId],
    );
    const { body } = await revoke({ runnerId });
    expect(body.leases).toContainEqual(expect.objectContaining({ leaseId: run.lease.id }));
    await hand.end(run);
    expect(await hand.row(run.id)).toMatchObject({ status: 'cancelled', error_code: 'lease_revoked' });
  });

  it('ends the run of a dead runner when its lease runs out, and tries it nowhere else', async () => {
    const run = await started();
    await revoke({ runId: run.id });
    await hand.lose(run);
    expect(await hand.row(run.id)).toMatchObject({ status: 'cancelled', error_code: 'lease_revoked' });
    expect(await lease(run.lease.id)).toMatchObject({ status: 'released' });
    expect(await hand.successorsOf(run.id)).toEqual([]);
  });

  it('is recorded on the lease and on the run, by who wanted it', async () => {
    const run = await started();
    const { body } = await revoke({ leaseId: run.lease.id, reason: 'too dear', graceSec: 60 });
    const [{ endsAt }] = body.leases;
    const [ofLease] = await activity(`entityId=${run.lease.id}&action=environment.lease_revoke_requested`);
    expect(ofLease).toMatchObject({
      actorType: 'user',
      runId: run.id,
      details: { environmentId: run.environment.id, reason: 'too dear', endsAt },
    });
    const [ofRun] = await activity(`entityId=${run.id}&action=heartbeat.cancel_requested`);
    expect(ofRun.details).toEqual({ code: 'lease_revoked', reason: 'too dear', cancelAt: endsAt });
  });

  it('leaves a run that waits alone, because it holds nothing', async () => {
    const { id } = await user.wake(await user.agent(companyId, 'true'));
    expect(await revoke({ runId: id })).toMatchObject({ status: 200, body: { revoked: 0, leases: [] } });
    expect(await user.run(id)).toMatchObject({ status: 'queued' });
  });

  describe('with a grace', () => {
    it('lets a run end by itself', async () => {
      const run = await started();
      const asked = Date.now();
      const { body } = await revoke({ runId: run.id, graceSec: HOUR });
      const [{ endsAt }] = body.leases;
      expect(Math.abs(Date.parse(endsAt) - asked - HOUR * 1000)).toBeLessThan(30_000);
      expect(await user.run(run.id)).toMatchObject({ status: 'running', cancelAt: endsAt });
      await hand.end(run);
      expect(await hand.row(run.id)).toMatchObject({ status: 'succeeded', error_code: null });
    });

    it.each(['transient', 'shutdown'] as const)('tries a run not again that fails in it: %s', async (end) => {
      const run = await started();
      await revoke({ runId: run.id, graceSec: HOUR });
      await hand.end(run, OUTCOMES[end]);
      expect(await hand.row(run.id)).toMatchObject({ status: 'failed', error_code: OUTCOMES[end].errorCode });
      expect(await hand.successorsOf(run.id)).toEqual([]);
    });

    it('makes every end a cancellation once it is over', async () => {
      const run = await started();
      await revoke({ runId: run.id, graceSec: HOUR });
      await passGrace(run.id);
      await hand.end(run);
      expect(await hand.row(run.id)).toMatchObject({ status: 'cancelled', error_code: 'lease_revoked' });
    });

    it('gives way to whatever acts sooner, and puts nothing off', async () => {
      const run = await started();
      const wish = async (body: object) => (await revoke({ runId: run.id, ...body })).body;
      expect(await wish({ graceSec: HOUR })).toMatchObject({ revoked: 1, endingAnyway: 0 });
      expect(await wish({ graceSec: 2 * HOUR })).toMatchObject({ revoked: 0, endingAnyway: 1 });
      expect(await wish({ graceSec: 60, reason: 'sooner' })).toMatchObject({ revoked: 1, endingAnyway: 0 });
      await user.api.post(`/heartbeat-runs/${run.id}/cancel`, { reason: 'now' });
      expect(await wish({ graceSec: 0 })).toMatchObject({ revoked: 0, endingAnyway: 1 });
      await hand.end(run);
      expect(await hand.row(run.id)).toMatchObject({ status: 'cancelled', error_code: 'cancelled', error: 'now' });
      expect(await activity(`entityId=${run.id}&action=heartbeat.cancel_requested`)).toHaveLength(3);
    });

    it('does not keep a pause of the agent from ending the run now', async () => {
      const run = await started();
      await user.api.post(`/agents/${run.agentId}/pause`, { drain: true });
      await revoke({ runId: run.id, graceSec: HOUR });
      await user.api.post(`/agents/${run.agentId}/pause`);
      await hand.end(run);
      expect(await hand.row(run.id)).toMatchObject({ status: 'cancelled', error: 'The agent was paused' });
    });

    it('does not keep an operator from releasing the lease now', async () => {
      const run = await started();
      await revoke({ runId: run.id, graceSec: HOUR });
      await user.api.post(`/environment-leases/${run.lease.id}/release`, { force: true, reason: 'now' });
      expect(await hand.row(run.id)).toMatchObject({ status: 'cancelled', error_code: 'lease_revoked', error: 'now' });
    });
  });

  it('releases a further lease of a run alone, and all of them with the first', async () => {
    const run = await started();
    const further = async () => {
      const body = { environmentId: run.environment.id, heartbeatRunId: run.id };
      return (await user.api.post<{ id: string }>(`/companies/${companyId}/environment-leases`, body)).body.id;
    };
    const [alone, along] = [await further(), await further()];
    expect((await revoke({ leaseId: alone })).body).toMatchObject({
      revoked: 1,
      leases: [{ leaseId: alone, heartbeatRunId: run.id }],
    });
    await app.get(ReapLeases).reap();
    expect(await lease(alone)).toMatchObject({ status: 'released' });
    expect(await hand.row(run.id)).toMatchObject({ status: 'running', cancel_at: null });
    expect((await revoke({ runId: run.id })).body).toMatchObject({ revoked: 2 });
    await hand.end(run);
    expect(await hand.row(run.id)).toMatchObject({ status: 'cancelled', error_code: 'lease_revoked' });
    expect(await lease(along)).toMatchObject({ status: 'released' });
  });

  describe('of a reservation', () => {
    let environmentId: string;
    beforeEach(async () => {
      const { body } = await user.api.get<{ id: string }[]>(`/companies/${companyId}/environments`);
      environmentId = body[0].id;
    });

    it('releases it, at once or when the grace is over', async () => {
      const [now, later] = await reserve(environmentId, 2);
      await revoke({ leaseId: later, graceSec: HOUR, reason: 'in an hour' });
      const { body } = await revoke({ environmentId, reason: 'the box burns' });
      expect(body).toMatchObject({ revoked: 2 });
      expect(body.leases).toContainEqual(
        expect.objectContaining({ leaseId: now, heartbeatRunId: null, holder: 'the build farm' }),
      );
      await revoke({ leaseId: later, graceSec: HOUR, reason: 'in an hour' });
      await app.get(ReapLeases).reap();
      for (const id of [now, later]) {
        expect(await lease(id)).toMatchObject({ status: 'released', revoke_reason: 'the box burns' });
      }
      const requested = await activity(`entityId=${later}&action=environment.lease_revoke_requested`);
      expect(requested.map(({ details }) => details.reason)).toEqual(['the box burns', 'in an hour']);
    });

    it('goes through as many as there are, and shows the first', async () => {
      await reserve(environmentId, 205);
      const { body } = await revoke({ companyId, graceSec: HOUR });
      expect(body).toMatchObject({ revoked: 205, endingAnyway: 0, truncated: true });
      expect(new Set(body.leases.map(({ leaseId }) => leaseId)).size).toBe(200);
      expect((await revoke({ companyId, graceSec: HOUR })).body).toMatchObject({ revoked: 0, endingAnyway: 205 });
    });
  });

  it.each([
    [{}],
    [{ reason: 'why not' }],
    [{ companyId: '018f0000-0000-7000-8000-000000000000', runId: '018f0000-0000-7000-8000-000000000000' }],
    [{ runId: 'x' }],
    [{ runId: '018f0000-0000-7000-8000-000000000000', graceSec: 86_401 }],
    [{ runId: '018f0000-0000-7000-8000-000000000000', graceSec: -1 }],
  ])('is refused with %j', async (body) => {
    expect(await revoke(body)).toMatchObject({ status: 400, body: { code: 'invalid_input' } });
  });

  it.each(['environmentId', 'companyId', 'runnerId', 'runId', 'leaseId'])('finds no such %s', async (scope) => {
    const body = { [scope]: '018f0000-0000-7000-8000-000000000000' };
    expect(await revoke(body)).toMatchObject({ status: 404, body: { code: 'not_found' } });
  });

  it("is nobody's but an operator's", async () => {
    const agentId = await user.agent(companyId, 'true');
    const { body: key } = await user.api.post<{ token: string }>(`/agents/${agentId}/keys`, { name: 'k' });
    const answer = await user.api.as(key.token).post('/admin/leases/revoke', { companyId });
    expect(answer).toMatchObject({ status: 403, body: { code: 'operator_only' } });
  });

  it('takes runs in the order in which those take them that end several at once', async () => {
    const [first, second] = [await started(), await started()].sort((a, b) => (a.id < b.id ? -1 : 1));
    const held = await holdTransaction(app.database, 'select 1 from heartbeat_runs where id = $1 for update', [
      first.id,
    ]);
    const ends = [second, first].map((run) => ({
      runId: run.id,
      leaseId: run.lease.id,
      fencingToken: null,
      outcome: OUTCOMES.succeeded,
    }));
    const ended = runInScope({ actor: systemActor('runner:test'), requestId: null }, () =>
      inTransaction(app.get(EntityManager), () => app.get(TerminalTransitions).endRunning(ends)),
    );
    await held.blocksSomebody();
    const free = 'select id from heartbeat_runs where id = $1 for no key update skip locked';
    expect(await app.database.query(free, [second.id])).toHaveLength(1);
    await held.commit();
    expect(await ended).toHaveLength(2);
  });
});

describe('a runner', () => {
  const TTL_SEC = 2;
  const LIFETIME_SEC = 6;
  let api: TestApp;
  let runner: TestApp;
  let user: Scenario;
  let companyId: string;

  beforeAll(async () => {
    api = await startTestApp({ config: { roles: new Set(['api']) } });
    const config = { roles: new Set(['runner'] as const), leaseTtlSec: TTL_SEC, leaseMaxLifetimeSec: LIFETIME_SEC };
    runner = await startTestApp({ database: api.database, config });
    user = new Scenario(api.url);
    companyId = await user.company();
  });
  afterAll(async () => {
    await runner.close();
    await api.close();
  });

  const running = async (script: string) => {
    const { id } = await user.wake(await user.agent(companyId, script));
    await user.reached(id, ['running', 'succeeded', 'failed']);
    return id;
  };
  const delayOf = async (runId: string) => {
    const [row] = await api.database.query<{ late: number }>(
      'select extract(epoch from finished_at - cancel_at)::float8 as late from heartbeat_runs where id = $1',
      [runId],
    );
    return row.late;
  };

  it('ends a run of another process within a second or so after its grace, and no sooner', async () => {
    const id = await running('sleep 60');
    await user.api.post('/admin/leases/revoke', { companyId, graceSec: 1 });
    expect(await user.ended(id)).toMatchObject({ status: 'cancelled', errorCode: 'lease_revoked' });
    const late = await delayOf(id);
    expect(late).toBeGreaterThanOrEqual(0);
    expect(late).toBeLessThan(2);
  });

  it('lets a run end by itself within its grace', async () => {
    const id = await running('sleep 0.5');
    await user.api.post('/admin/leases/revoke', { runId: id, graceSec: HOUR });
    expect(await user.ended(id)).toMatchObject({ status: 'succeeded', errorCode: null });
  });

  it('ends a run whose lease comes to the end of its lifetime, and does not try it again', async () => {
    const id = await running('sleep 60');
    expect(await user.ended(id)).toMatchObject({
      status: 'timed_out',
      errorCode: 'lease_lifetime',
      error: `Its lease reached the ${LIFETIME_SEC} seconds past which none is renewed`,
    });
    expect(await user.leases(id)).toMatchObject([{ status: 'failed' }]);
    const successors = 'select 1 from heartbeat_runs where retry_of_run_id = $1';
    expect(await api.database.query(successors, [id])).toEqual([]);
  });
});
