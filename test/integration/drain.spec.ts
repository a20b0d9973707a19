import { ReapLeases } from '../../src/heartbeat/ending/reap-leases.js';
import type { Refusal } from '../support/api-client.js';
import { HandRunner, OUTCOMES } from '../support/hand-runner.js';
import { holdTransaction } from '../support/held-transaction.js';
import { rounds } from '../support/rounds.js';
import { Scenario, type ActivityEntry } from '../support/scenario.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

const ROUNDS = rounds(20);
const HOUR = 3600;

describe('the drain of an environment', () => {
  let app: TestApp;
  let user: Scenario;
  let hand: HandRunner;
  let companyId: string;
  let environmentId: string;

  beforeAll(async () => {
    app = await startStillApp();
    user = new Scenario(app.url);
    hand = new HandRunner(app);
  });
  beforeEach(async () => {
    companyId = await user.company();
    const { body } = await user.api.get<{ id: string }[]>(`/companies/${companyId}/environments`);
    environmentId = body[0].id;
  });
  afterAll(() => app.close());

  const act = (action: string, body: object = {}) =>
    user.api.post<{ status: string; activeLeaseCount: number } & Refusal>(
      `/environments/${environmentId}/${action}`,
      body,
    );
  const woken = async () => {
    const agentId = await user.agent(companyId, 'true');
    const { id } = await user.wake(agentId);
    return { agentId, id };
  };
  const started = async () => hand.started((await woken()).agentId);
  const wishOf = async (runId: string) => {
    const [row] = await app.database.query<{ code: string | null; reason: string; grace: number }>(
      `select cancel_code as code, cancel_reason as reason,
         extract(epoch from cancel_at - cancel_requested_at)::float8 as grace from heartbeat_runs where id = $1`,
      [runId],
    );
    return row;
  };
  const actions = async () => {
    const { body } = await user.api.get<ActivityEntry[]>(
      `/companies/${companyId}/activity?entityType=environment&entityId=${environmentId}`,
    );
    return body.reverse().map(({ action, details }) => ({ action, details }));
  };
  /** Inserts a run that is running there, as a claim leaves it. */
  const CLAIMED = `with e as (select id, company_id from environments where id = $2),
      ids as (select gen_random_uuid() as run, gen_random_uuid() as lease),
      r as (insert into heartbeat_runs (id, company_id, agent_id, invocation_source, status, lease_id, runner_id,
          started_at)
        select run, company_id, $1, 'on_demand', 'running', lease, 'runner', now() from ids, e)
    insert into environment_leases (id, company_id, environment_id, heartbeat_run_id, run_lease_id, holder, status,
      provider, acquired_at, last_used_at, expires_at, lifetime_ends_at)
    select lease, company_id, e.id, run, lease, 'run:' || run, 'active', 'local', now(), now(), now() + interval '1 h',
      now() + interval '1 d' from ids, e
    returning heartbeat_run_id as id`;

  describe('without a grace', () => {
    it('lets what runs there end by itself, and starts nothing until it is activated', async () => {
      const run = await started();
      const waiting = await woken();
      expect(await act('drain')).toMatchObject({ status: 200, body: { status: 'draining', activeLeaseCount: 1 } });
      expect(await wishOf(run.id)).toMatchObject({ code: null });
      expect(await hand.start(waiting.agentId)).toBeNull();
      await hand.end(run);
      expect(await hand.row(run.id)).toMatchObject({ status: 'succeeded' });
      await act('activate');
      expect(await hand.started(waiting.agentId)).toMatchObject({ id: waiting.id });
    });
  });

  describe('with a grace', () => {
    it('ends what runs there when that is over, and says what for', async () => {
      const run = await started();
      expect((await act('drain', { graceSec: 60, reason: 'new disks' })).body).toMatchObject({ status: 'draining' });
      const reason = 'The environment "Local" is being drained: new disks';
      expect(await wishOf(run.id)).toEqual({ code: 'lease_revoked', reason, grace: 60 });
      expect(await actions()).toContainEqual({ action: 'environment.draining', details: { graceSec: 60, reason } });
      expect(await user.actions(companyId, run.id)).toEqual(
        expect.arrayContaining(['environment.lease_revoke_requested', 'heartbeat.cancel_requested']),
      );
      await app.database.query(`update heartbeat_runs set cancel_at = now() - interval '1 s' where id = $1`, [run.id]);
      await hand.end(run);
      expect(await hand.row(run.id)).toMatchObject({ status: 'cancelled', error_code: 'lease_revoked' });
    });

    it('lets a run end by itself within it', async () => {
      const run = await started();
      await act('drain', { graceSec: HOUR });
      await hand.end(run);
      expect(await hand.row(run.id)).toMatchObject({ status: 'succeeded' });
    });

    it('ends the run of a dead runner when its lease runs out, and tries it nowhere else', async () => {
      const run = await started();
      await act('drain', { graceSec: 0 });
      await hand.lose(run);
      expect(await hand.row(run.id)).toMatchObject({ status: 'cancelled', error_code: 'lease_revoked' });
      expect(await hand.successorsOf(run.id)).toEqual([]);
    });

    it('can be shortened while it lasts, but not lengthened', async () => {
      const run = await started();
      await act('drain');
      for (const graceSec of [HOUR, 60, HOUR]) await act('drain', { graceSec });
      expect(await wishOf(run.id)).toMatchObject({ grace: 60 });
    });

    it('is not taken back when the environment is activated: only what comes then stays', async () => {
      const run = await started();
      await act('drain', { graceSec: HOUR });
      await act('activate');
      expect(await wishOf(run.id)).toMatchObject({ code: 'lease_revoked' });
      expect(await wishOf((await started()).id)).toMatchObject({ code: null });
    });

    it('releases reservations, too', async () => {
      const [{ id }] = await app.database.query<{ id: string }>(
        `insert into environment_leases (id, company_id, environment_id, holder, status, provider, acquired_at,
           last_used_at, expires_at, lifetime_ends_at)
         select gen_random_uuid(), company_id, id, 'the build farm', 'active', driver, now(), now(),
           now() + interval '1 h', now() + interval '1 d' from environments where id = $1 returning id`,
        [environmentId],
      );
      await act('drain', { graceSec: 0 });
      await app.get(ReapLeases).reap();
      expect((await user.api.get(`/environment-leases/${id}`)).body).toMatchObject({ status: 'released' });
    });

    it('is not for an archived environment', async () => {
      const run = await started();
      await act('archive');
      expect(await act('drain', { graceSec: 0 })).toMatchObject({
        status: 409,
        body: { code: 'environment_archived' },
      });
      expect(await wishOf(run.id)).toMatchObject({ code: null });
    });

    it.each([-1, 86_401, '60'])('is not %j seconds', async (graceSec) => {
      expect(await act('drain', { graceSec })).toMatchObject({ status: 400, body: { code: 'invalid_input' } });
    });

    it("is nobody's but an operator's", async () => {
      const { body: key } = await user.api.post<{ token: string }>(
        `/agents/${await user.agent(companyId, 'true')}/keys`,
        { name: 'k' },
      );
      const answer = await user.api.as(key.token).post(`/environments/${environmentId}/drain`, { graceSec: 0 });
      expect(answer).toMatchObject({ status: 403, body: { code: 'operator_only' } });
    });
  });

  describe('with a grace, at the same moment as a claim', () => {
    it('misses no run that came there before', async () => {
      const agentId = await user.agent(companyId, 'true');
      const placing = await holdTransaction(app.database, 'select id from environments where id = $1 for share', [
        environmentId,
      ]);
      await placing.query(CLAIMED, [agentId, environmentId]);
      const drained = act('drain', { graceSec: 0 });
      await placing.blocksSomebody();
      await placing.commit();
      expect((await drained).body).toMatchObject({ status: 'draining', activeLeaseCount: 1 });
      const runs = await app.database.query<{ cancel_code: string }>(
        'select cancel_code from heartbeat_runs where agent_id = $1',
        [agentId],
      );
      expect(runs).toEqual([{ cancel_code: 'lease_revoked' }]);
    });

    it('leaves nothing running there that is not to end', async () => {
      for (let round = 0; round < ROUNDS; round++) {
        const { agentId, id } = await woken();
        const [run, drained] = await Promise.all([hand.start(agentId), act('drain', { graceSec: 0 })]);
        expect(drained.status).toBe(200);
        const { code } = await wishOf(id);
        expect([await hand.row(id), code]).toMatchObject(
          run ? [{ status: 'running' }, 'lease_revoked'] : [{ status: 'queued' }, null],
        );
        if (run) await hand.end(run, OUTCOMES.failed);
        await act('activate');
      }
    });

    it('holds the environment from nobody while it waits for a run', async () => {
      const run = await started();
      const holder = await holdTransaction(
        app.database,
        'select id from heartbeat_runs where id = $1 for no key update',
        [run.id],
      );
      const drained = act('drain', { graceSec: 0 });
      await holder.blocksSomebody();
      await holder.query('select id from environments where id = $1 for no key update nowait', [environmentId]);
      await holder.commit();
      expect((await drained).status).toBe(200);
      expect(await wishOf(run.id)).toMatchObject({ code: 'lease_revoked' });
    });

    it('waits so for one that has just come there, too', async () => {
      const agentId = await user.agent(companyId, 'true');
      const placing = await holdTransaction(app.database, 'select id from environments where id = $1 for share', [
        environmentId,
      ]);
      const drained = act('drain', { graceSec: 0 });
      await placing.blocksSomebody();
      const [run] = await app.database.query<{ id: string }>(CLAIMED, [agentId, environmentId]);
      const holder = await holdTransaction(
        app.database,
        'select id from heartbeat_runs where id = $1 for no key update',
        [run.id],
      );
      await placing.commit();
      await holder.blocksSomebody();
      await holder.query('select id from environments where id = $1 for no key update nowait', [environmentId]);
      await holder.commit();
      expect((await drained).status).toBe(200);
      expect(await wishOf(run.id)).toMatchObject({ code: 'lease_revoked' });
    });
  });

  it('leaves what an archive does to what runs there: nothing', async () => {
    const run = await started();
    const waiting = await woken();
    await act('archive');
    await hand.end(run);
    expect(await hand.row(run.id)).toMatchObject({ status: 'succeeded' });
    expect(await hand.start(waiting.agentId)).toBeNull();
    expect(await hand.row(waiting.id)).toMatchObject({ status: 'failed', error_code: 'environment_archived' });
  });
});
