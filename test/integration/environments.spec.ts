import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ApiClient, Refusal } from '../support/api-client.js';
import { holdTransaction } from '../support/held-transaction.js';
import { EnvironmentHarness, type Environment } from './environment-harness.js';

let harness: EnvironmentHarness;
let operator: ApiClient;

beforeAll(async () => {
  harness = await EnvironmentHarness.start();
  ({ operator } = harness);
});
afterAll(() => harness.close());

/** Starts a run in the environment like a runner that is placing it: the row is held, then the lease is inserted. */
const HOLD = `with e as (select id, company_id from environments where id = $2 for share),
    ids as (select gen_random_uuid() as run, gen_random_uuid() as lease),
    r as (insert into heartbeat_runs (id, company_id, agent_id, invocation_source, status, lease_id, runner_id,
        started_at)
      select run, company_id, $1, 'on_demand', 'running', lease, 'runner', now() from ids, e)
  insert into environment_leases (id, company_id, environment_id, heartbeat_run_id, run_lease_id, holder, status,
    provider, acquired_at, last_used_at, expires_at, lifetime_ends_at)
  select lease, company_id, e.id, run, lease, 'run', 'active', 'local', now(), now(), now() + interval '1 h',
    now() + interval '1 d' from ids, e
  returning heartbeat_run_id as run, id as lease`;
/** What somebody outside held and lost, with its place kept. */
const LEAVE_PLACE = `with ids as (select gen_random_uuid() as lease, gen_random_uuid() as place),
    e as (select id, company_id from environments where id = $1),
    p as (insert into environment_places (id, company_id, environment_id, lease_id, state, driver, config_fingerprint,
        host, facts, realise_deadline_at, keep_until)
      select place, company_id, e.id, lease, 'retained', 'local', 'x', 'box-7', '{}', now(), '2100-01-01T00:00:00Z'
      from ids, e)
  insert into environment_leases (id, company_id, environment_id, holder, status, provider, place_id, acquired_at,
    last_used_at, expires_at, lifetime_ends_at, released_at, failure_reason)
  select lease, company_id, e.id, 'the build farm', 'expired', 'local', place, now(), now(), now() + interval '1 m',
    now() + interval '1 h', now(), 'not renewed in time' from ids, e
  returning id as lease, place_id as place`;

describe('environments', () => {
  let companyId: string;
  let local: Environment;

  beforeEach(async () => {
    companyId = await harness.company();
    local = await harness.localOf(companyId);
  });

  describe('create', () => {
    const create = (body: object) => operator.post<Environment & Refusal>(`/companies/${companyId}/environments`, body);

    it('answers the whole environment', async () => {
      const fresh = await harness.company();
      const config = { cwd: '/srv' };
      const policy = { leasePolicy: 'retain_on_failure', warmSec: 60, retainSec: 3600 };
      const fields = { name: 'Mine', driver: 'local', config, envVars: { A: 'b' }, capacity: 2, metadata: { x: 1 } };
      const body = { ...fields, ...policy };
      const answer = await operator.post<Environment>(`/companies/${fresh}/environments`, body);
      expect(answer.status).toBe(201);
      expect(answer.body).toEqual({
        ...body,
        id: expect.any(String),
        companyId: fresh,
        description: null,
        status: 'active',
        activeLeaseCount: 0,
        createdAt: expect.stringMatching(/Z$/),
        updatedAt: expect.stringMatching(/Z$/),
      });
      expect((await operator.get(`/environments/${answer.body.id}`)).body).toEqual(answer.body);
      expect(await harness.actions(fresh)).toMatchObject([{ action: 'environment.created', actor_type: 'user' }]);
    });

    it('refuses a second local one', async () => {
      const answer = await create({ name: 'Another', driver: 'local' });
      expect(answer).toMatchObject({ status: 409, body: { code: 'local_environment_exists' } });
    });

    it('makes one of those that come at once', async () => {
      const fresh = await harness.company();
      const answers = await Promise.all(
        Array.from({ length: 5 }, (_, i) =>
          operator.post(`/companies/${fresh}/environments`, { name: `n${i}`, driver: 'local' }),
        ),
      );
      expect(answers.map(({ status }) => status).sort()).toEqual([201, 409, 409, 409, 409]);
    });

    it.each([
      [{ name: 'x' }, 'driver'],
      [{ name: '', driver: 'local' }, 'name'],
      [{ name: 'x', driver: 'teleport' }, 'driver'],
      [{ name: 'x', driver: 'local', config: { cwd: 'relative' } }, 'config.cwd'],
      [{ name: 'x', driver: 'local', config: { shell: 'sh' } }, 'config.shell'],
      [{ name: 'x', driver: 'local', envVars: { A: 1 } }, 'envVars.A'],
      [{ name: 'x', driver: 'local', envVars: { 'A B': 'x' } }, 'envVars.A B'],
      [{ name: 'x', driver: 'local', envVars: { A: 'x'.repeat(70_000) } }, 'envVars'],
      [{ name: 'x', driver: 'local', capacity: 0 }, 'capacity'],
      [{ name: 'x', driver: 'local', leasePolicy: 'for ever' }, 'leasePolicy'],
      [{ name: 'x', driver: 'local', warmSec: 604_801 }, 'warmSec'],
      [{ name: 'x', driver: 'local', retainSec: 2_592_001 }, 'retainSec'],
      [{ name: 'x', driver: 'local', color: 'red' }, 'color'],
    ])('refuses %j and names %s', async (body, field) => {
      const { status, body: refusal } = await create(body);
      expect(status).toBe(400);
      expect(refusal.details).toEqual([expect.objectContaining({ field })]);
    });

    it('is safe to repeat under one key, and keeps its variables nowhere else', async () => {
      const fresh = await harness.company();
      const keyed = operator.with({ 'idempotency-key': 'once' });
      const body = { name: 'Mine', driver: 'local', envVars: { A: 'a-plain-value' } };
      const [first, second] = [
        await keyed.post<Environment>(`/companies/${fresh}/environments`, body),
        await keyed.post<Environment>(`/companies/${fresh}/environments`, body),
      ];
      expect(first.body).toMatchObject(body);
      expect(second).toMatchObject({ status: 201, body: first.body });
      const kept = await harness.app.database.query('select answer from idempotency_keys where company_id = $1', [
        fresh,
      ]);
      expect(kept).toEqual([{ answer: { id: first.body.id } }]);
    });
  });

  describe('update', () => {
    const update = (body: object) => operator.patch<Environment & Refusal>(`/environments/${local.id}`, body);

    it('changes what is given, and records which fields but not what they hold', async () => {
      const { body } = await update({ name: 'Box', envVars: { SECRET: 's' }, capacity: null });
      expect(body).toMatchObject({ name: 'Box', envVars: { SECRET: 's' }, capacity: null });
      expect((await harness.actions(companyId)).at(-1)).toEqual({
        action: 'environment.updated',
        actor_type: 'user',
        details: { fields: ['envVars', 'name'] },
      });
    });

    it('changes what becomes of places, and for how long', async () => {
      expect(local).toMatchObject({ leasePolicy: 'ephemeral', warmSec: 600, retainSec: 86_400 });
      const policy = { leasePolicy: 'reuse_by_environment', warmSec: 1, retainSec: 2_592_000 };
      expect((await update(policy)).body).toMatchObject(policy);
      expect((await harness.actions(companyId)).at(-1)).toMatchObject({ details: { fields: Object.keys(policy) } });
    });

    it('records nothing where nothing changes', async () => {
      await update({ name: local.name, config: {} });
      expect(await harness.actions(companyId)).toHaveLength(1);
    });

    it('refuses a name that is taken', async () => {
      await harness.other(companyId, 'Taken');
      expect(await update({ name: 'Taken' })).toMatchObject({ status: 409, body: { code: 'environment_name_taken' } });
    });

    it('refuses a config that its driver does not take', async () => {
      expect((await update({ config: { cwd: 7 } })).body.details).toMatchObject([{ field: 'config.cwd' }]);
    });

    it('takes a status like the actions do', async () => {
      expect((await update({ status: 'archived' })).body.status).toBe('archived');
      expect((await harness.actions(companyId)).at(-1)).toMatchObject({ action: 'environment.archived' });
    });

    it('may change one that is archived', async () => {
      await operator.post(`/environments/${local.id}/archive`);
      expect((await update({ name: 'Old' })).body).toMatchObject({ name: 'Old', status: 'archived' });
    });
  });

  describe('drain, activate and archive', () => {
    const act = (action: string) => operator.post<Environment & Refusal>(`/environments/${local.id}/${action}`);

    it('each move it to their state and record it, once', async () => {
      for (const action of ['drain', 'drain', 'activate', 'archive', 'archive', 'activate']) {
        expect((await act(action)).status).toBe(200);
      }
      expect((await harness.actions(companyId)).map(({ action }) => action)).toEqual([
        'environment.created',
        'environment.draining',
        'environment.activated',
        'environment.archived',
        'environment.activated',
      ]);
    });

    it('does not drain what is archived', async () => {
      await act('archive');
      expect(await act('drain')).toMatchObject({ status: 409, body: { code: 'environment_archived' } });
    });
  });

  describe('delete', () => {
    it('takes it out of sight, and frees its name', async () => {
      expect((await operator.delete(`/environments/${local.id}`)).status).toBe(204);
      expect((await operator.get(`/environments/${local.id}`)).status).toBe(404);
      expect((await operator.delete(`/environments/${local.id}`)).status).toBe(404);
      const { body } = await operator.get<Environment[]>(`/companies/${companyId}/environments`);
      expect(body.map(({ name }) => name)).toEqual(['Local']);
      expect(body[0].id).not.toBe(local.id);
    });

    it('is refused while anything is held in it, and says what', async () => {
      const parameters = [await harness.agent(companyId), local.id];
      const [held] = await harness.app.database.query<{ run: string; lease: string }>(HOLD, parameters);
      const leases = [{ leaseId: held.lease, heartbeatRunId: held.run, holder: 'run', status: 'active', place: null }];
      expect(await operator.delete(`/environments/${local.id}`)).toMatchObject({
        status: 409,
        body: { code: 'environment_in_use', details: { activeLeaseCount: 1, heldPlaceCount: 0, leases } },
      });
      expect((await operator.get(`/environments/${local.id}/delete-blast-radius`)).body).toEqual({
        environmentId: local.id,
        canDelete: false,
        activeLeaseCount: 1,
        heldPlaceCount: 0,
        leases,
        waitingRunCount: 0,
        waitingRequestCount: 0,
        requests: [],
        isCompanyDefault: false,
        agentCount: 0,
        openIssueCount: 0,
        workspaceCount: 0,
      });
      expect((await operator.get<Environment>(`/environments/${local.id}`)).body.activeLeaseCount).toBe(1);
    });

    it('is refused while the place of an ended lease is left in it, and says where that is', async () => {
      const [left] = await harness.app.database.query<{ lease: string; place: string }>(LEAVE_PLACE, [local.id]);
      const leases = [
        {
          leaseId: left.lease,
          heartbeatRunId: null,
          holder: 'the build farm',
          status: 'expired',
          place: {
            placeId: left.place,
            state: 'retained',
            host: 'box-7',
            keepUntil: '2100-01-01T00:00:00.000Z',
            parkedAt: null,
          },
        },
      ];
      expect(await operator.delete(`/environments/${local.id}`)).toMatchObject({
        status: 409,
        body: { code: 'environment_in_use', details: { activeLeaseCount: 0, heldPlaceCount: 1, leases } },
      });
      const radius = await operator.get(`/environments/${local.id}/delete-blast-radius`);
      expect(radius.body).toMatchObject({ canDelete: false, activeLeaseCount: 0, heldPlaceCount: 1, leases });
      expect((await operator.get<Environment>(`/environments/${local.id}`)).body.activeLeaseCount).toBe(0);
      await harness.app.database.query(
        `with gone as (update environment_places set state = 'gone', gone_at = now(), keep_until = null where id = $1)
         update environment_leases set held_until = now() where place_id = $1`,
        [left.place],
      );
      expect((await operator.delete(`/environments/${local.id}`)).status).toBe(204);
    });

    it('tells beforehand who waits for it, and is not refused for that', async () => {
      const agentId = await harness.agent(companyId);
      await operator.post(`/agents/${agentId}/wakeup`, {});
      const [request] = await harness.app.database.query<{ id: string; created_at: Date }>(
        `insert into lease_requests (id, company_id, environment_id, holder, give_up_at)
         select gen_random_uuid(), company_id, id, 'the build farm', now() + interval '1 h' from environments where id = $1
         returning id, created_at`,
        [local.id],
      );
      expect((await operator.get(`/environments/${local.id}/delete-blast-radius`)).body).toMatchObject({
        canDelete: true,
        waitingRunCount: 1,
        waitingRequestCount: 1,
        requests: [{ requestId: request.id, holder: 'the build farm', createdAt: request.created_at.toISOString() }],
      });
      expect((await operator.delete(`/environments/${local.id}`)).status).toBe(204);
    });

    it('is refused when a run is being placed in it at the same moment', async () => {
      const placing = await holdTransaction(harness.app.database, HOLD, [await harness.agent(companyId), local.id]);
      const deleted = operator.delete(`/environments/${local.id}`);
      await placing.blocksSomebody();
      await placing.commit();
      expect(await deleted).toMatchObject({ status: 409, body: { code: 'environment_in_use' } });
    });

    it('tells beforehand what refers to it', async () => {
      await operator.patch(`/companies/${companyId}`, { defaultEnvironmentId: local.id });
      await operator.post(`/companies/${companyId}/agents`, { name: 'a', defaultEnvironmentId: local.id });
      await operator.post(`/companies/${companyId}/execution-workspaces`, {
        environmentId: local.id,
        name: 'w',
        cwd: '/w',
      });
      expect((await operator.get(`/environments/${local.id}/delete-blast-radius`)).body).toMatchObject({
        canDelete: true,
        isCompanyDefault: true,
        agentCount: 1,
        workspaceCount: 1,
      });
    });
  });

  describe('list', () => {
    it('filters by status and driver, and pages', async () => {
      const other = await harness.other(companyId, 'Other');
      const list = async (query: string) =>
        (await operator.get<Environment[]>(`/companies/${companyId}/environments?${query}`)).body.map(({ id }) => id);
      expect((await list('')).sort()).toEqual([local.id, other].sort());
      expect(await list('driver=local')).toEqual([local.id]);
      expect(await list('status=archived')).toEqual([]);
      const first = await operator.get<Environment[]>(`/companies/${companyId}/environments?limit=1`);
      const next = /<\/api(.*)>; rel="next"/.exec(first.headers.get('link') ?? '')![1];
      const second = await operator.get<Environment[]>(next);
      expect([first.body[0].id, second.body[0].id].sort()).toEqual([local.id, other].sort());
      expect(second.headers.get('link')).toBeNull();
    });

    it('refuses a status that there is not', async () => {
      expect((await operator.get(`/companies/${companyId}/environments?status=lost`)).status).toBe(400);
    });
  });

  describe('probe', () => {
    it('says whether a run could execute there, and records it', async () => {
      const { status, body } = await operator.post(`/environments/${local.id}/probe`);
      expect(status).toBe(200);
      expect(body).toMatchObject({
        ok: true,
        driver: 'local',
        summary: expect.any(String),
        details: expect.any(Object),
      });
      expect((await harness.actions(companyId)).at(-1)).toMatchObject({
        action: 'environment.probed',
        details: { ok: true },
      });
    });

    it('takes the body of a creation that has not happened, and leaves no record', async () => {
      const directory = await mkdtemp(join(tmpdir(), 'berth-probe-'));
      const body = { name: 'x', driver: 'local', config: { cwd: directory } };
      const path = `/companies/${companyId}/environments/probe-config`;
      expect(await operator.post(path, body)).toMatchObject({
        status: 200,
        body: { ok: true, driver: 'local', summary: `${directory} exists and is writable` },
      });
      expect(await operator.post(path, { ...body, config: { cwd: '/dev/null/x' } })).toMatchObject({
        status: 200,
        body: { ok: false, summary: '/dev/null is not a directory' },
      });
      expect((await operator.post(path, { ...body, driver: 'teleport' })).status).toBe(400);
      expect(await harness.actions(companyId)).toHaveLength(1);
      await rm(directory, { recursive: true });
    });
  });

  it('says which drivers there are', async () => {
    const { body } = await operator.get(`/companies/${companyId}/environments/capabilities`);
    expect(body).toMatchObject({
      drivers: [{ driver: 'local', hasPlaces: true, configSchema: { properties: { cwd: { type: 'string' } } } }],
    });
  });

  describe('for an agent', () => {
    it("are those of its company to see, and nobody's but an operator's to change", async () => {
      const agent = operator.as(await harness.agentToken(companyId));
      expect((await agent.get(`/environments/${local.id}`)).status).toBe(200);
      for (const answer of [
        await agent.patch(`/environments/${local.id}`, { name: 'x' }),
        await agent.post(`/environments/${local.id}/archive`),
        await agent.post(`/environments/${local.id}/probe`),
        await agent.delete(`/environments/${local.id}`),
        await agent.post(`/companies/${companyId}/environments`, { name: 'x', driver: 'local' }),
      ]) {
        expect(answer).toMatchObject({ status: 403, body: { code: 'operator_only' } });
      }
    });

    it('do not exist in another company', async () => {
      const stranger = operator.as(await harness.agentToken(await harness.company()));
      for (const answer of [
        await stranger.get(`/environments/${local.id}`),
        await stranger.patch(`/environments/${local.id}`, { name: 'x' }),
        await stranger.delete(`/environments/${local.id}`),
        await stranger.post(`/environments/${local.id}/probe`),
        await stranger.get(`/environments/${local.id}/delete-blast-radius`),
        await stranger.get(`/companies/${companyId}/environments`),
        await stranger.get(`/companies/${companyId}/environments/capabilities`),
        await stranger.post(`/companies/${companyId}/environments`, { name: 'x', driver: 'local' }),
      ]) {
        expect(answer.status).toBe(404);
      }
    });
  });
});
