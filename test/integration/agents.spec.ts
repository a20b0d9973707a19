import { EntityManager } from '@mikro-orm/postgresql';
import { AgentLifecycleService } from '../../src/agents/agent-lifecycle.service.js';
import { newId } from '../../src/database/id.js';
import { inTransaction } from '../../src/database/transaction.js';
import { ApiClient, type Refusal } from '../support/api-client.js';
import { holdTransaction } from '../support/held-transaction.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

interface Agent {
  id: string;
  companyId: string;
  name: string;
  status: string;
  adapterType: string;
  adapterConfig: Record<string, unknown>;
  runtimeConfig: Record<string, unknown>;
  defaultEnvironmentId: string | null;
  pauseReason: string | null;
  pausedAt: string | null;
  metadata: Record<string, unknown>;
}

describe('agents', () => {
  let app: TestApp;
  let operator: ApiClient;
  let companyId: string;
  let otherCompanyId: string;

  beforeAll(async () => {
    app = await startTestApp();
    operator = new ApiClient(app.url);
    companyId = (await operator.post<{ id: string }>('/companies', { name: 'Quay' })).body.id;
    otherCompanyId = (await operator.post<{ id: string }>('/companies', { name: 'Elsewhere' })).body.id;
  });
  afterAll(() => app.close());

  const create = async (body: object, company = companyId) =>
    (await operator.post<Agent>(`/companies/${company}/agents`, body)).body;
  const clientOf = async (agentId: string) =>
    operator.as((await operator.post<{ token: string }>(`/agents/${agentId}/keys`, { name: 'key' })).body.token);
  const actionsOn = async (agentId: string) => {
    const sql = `select action from activity_log where entity_type = 'agent' and entity_id = $1 order by seq`;
    return (await app.database.query<{ action: string }>(sql, [agentId])).map(({ action }) => action);
  };
  const makeEnvironment = async (company: string, status = 'active') => {
    const id = newId();
    await app.database.query(
      `insert into environments (id, company_id, name, driver, status) values ($1, $2, $3, 'test', $4)`,
      [id, company, `env ${id}`, status],
    );
    return id;
  };
  const makeRunningRun = async (agentId: string) => {
    const [runId, leaseId, environmentId] = [newId(), newId(), await makeEnvironment(companyId)];
    await app.database.query(
      `with run as (
         insert into heartbeat_runs
           (id, company_id, agent_id, invocation_source, status, lease_id, runner_id, started_at)
         values ($1, $2, $3, 'on_demand', 'running', $4, 'test', now()))
       insert into environment_leases
         (id, company_id, environment_id, heartbeat_run_id, run_lease_id, holder, status, provider, acquired_at,
          last_used_at, expires_at, lifetime_ends_at)
       values ($4, $2, $5, $1, $4, 'test', 'active', 'test', now(), now(), now() + interval '1 hour',
         now() + interval '1 day')`,
      [runId, companyId, agentId, leaseId, environmentId],
    );
    return runId;
  };

  describe('create', () => {
    it('needs a name only', async () => {
      const { status, body } = await operator.post<Agent>(`/companies/${companyId}/agents`, { name: 'bare' });
      expect(status).toBe(201);
      expect(body).toEqual({
        id: expect.any(String) as string,
        companyId,
        name: 'bare',
        role: 'general',
        title: null,
        status: 'idle',
        adapterType: 'process',
        adapterConfig: {},
        runtimeConfig: {},
        defaultEnvironmentId: null,
        pauseReason: null,
        pausedAt: null,
        lastHeartbeatAt: null,
        metadata: {},
        createdAt: expect.stringMatching(/Z$/) as string,
        updatedAt: expect.any(String) as string,
      });
      expect((await operator.get<Agent>(`/agents/${body.id}`)).body).toEqual(body);
      expect(await actionsOn(body.id)).toEqual(['agent.created']);
    });

    it('is made once under one key, and its config is kept nowhere else', async () => {
      const fresh = (await operator.post<{ id: string }>('/companies', { name: 'Fresh' })).body.id;
      const keyed = operator.with({ 'idempotency-key': 'once' });
      const body = { name: 'repeated', adapterConfig: { env: { A: 'a-plain-value' } } };
      const made = () => keyed.post<Agent>(`/companies/${fresh}/agents`, body);
      const first = await made();
      expect(first).toMatchObject({ status: 201, body });
      expect(await made()).toMatchObject({ status: 201, body: first.body });
      const kept = await app.database.query('select answer from idempotency_keys where company_id = $1', [fresh]);
      expect(kept).toEqual([{ answer: { id: first.body.id } }]);

      await operator.patch(`/agents/${first.body.id}`, { name: 'renamed' });
      expect((await made()).body).toMatchObject({ id: first.body.id, name: 'renamed' });
      await operator.delete(`/agents/${first.body.id}`);
      expect((await made()).status).toBe(404);
    });

    it('accepts what Paperclip’s client always sends', async () => {
      const { status } = await operator.post(`/companies/${companyId}/agents`, {
        name: 'from the client',
        role: 'engineer',
        adapterType: 'process',
        adapterConfig: { command: 'sh' },
        runtimeConfig: {},
        budgetMonthlyCents: 0,
        permissions: { canCreateSkills: true },
        metadata: null,
      });
      expect(status).toBe(201);
    });

    it('refuses an adapter that is not built in, and says which are', async () => {
      const { status, body } = await operator.post<Refusal>(`/companies/${companyId}/agents`, {
        name: 'lost',
        adapterType: 'telepathy',
      });
      expect([status, body.code]).toEqual([400, 'unknown_adapter']);
      expect(body.error).toContain('process');
    });

    it('has its config checked by the adapter', async () => {
      const { status } = await operator.post(`/companies/${companyId}/agents`, {
        name: 'odd',
        adapterConfig: { args: 'not a list' },
      });
      expect(status).toBe(400);
    });

    it.each([
      ['an interval below 10 s', { heartbeat: { intervalSec: 9 } }, 'runtimeConfig.heartbeat.intervalSec'],
      ['a cap of 0', { heartbeat: { maxConcurrentRuns: 0 } }, 'runtimeConfig.heartbeat.maxConcurrentRuns'],
      ['a cap above 1000', { heartbeat: { maxConcurrentRuns: 1001 } }, 'runtimeConfig.heartbeat.maxConcurrentRuns'],
      ['a cap that is a text', { heartbeat: { maxConcurrentRuns: '1' } }, 'runtimeConfig.heartbeat.maxConcurrentRuns'],
      ['enabled that is no boolean', { heartbeat: { enabled: 'yes' } }, 'runtimeConfig.heartbeat.enabled'],
      ['wakeOnDemand that is no boolean', { heartbeat: { wakeOnDemand: 1 } }, 'runtimeConfig.heartbeat.wakeOnDemand'],
      ['a heartbeat that is a list', { heartbeat: [] }, 'runtimeConfig.heartbeat'],
    ])('refuses %s, naming it', async (_name, runtimeConfig, field) => {
      const { status, body } = await operator.post<Refusal>(`/companies/${companyId}/agents`, {
        name: 'strict',
        runtimeConfig,
      });
      expect(status).toBe(400);
      expect(body.details).toEqual([{ field, message: expect.any(String) as string }]);
    });

    it('keeps what else is in runtimeConfig, and a cap of 1 as 1', async () => {
      const runtimeConfig = { heartbeat: { maxConcurrentRuns: 1, cooldownSec: 3 }, debug: { on: true } };
      const { id, ...agent } = await create({ name: 'careful', runtimeConfig });
      expect(agent.runtimeConfig).toEqual(runtimeConfig);
      const rows = await app.database.query('select max_concurrent_runs from agents where id = $1', [id]);
      expect(rows).toEqual([{ max_concurrent_runs: 1 }]);
    });

    it('refuses a config above 64 KiB', async () => {
      const adapterConfig = { command: 'sh', args: ['x'.repeat(65_536)] };
      const answer = await operator.post(`/companies/${companyId}/agents`, { name: 'large', adapterConfig });
      expect(answer.status).toBe(400);
    });

    it('refuses a default environment that is archived or another company’s', async () => {
      const cases = [
        [await makeEnvironment(companyId, 'archived'), 'environment_archived'],
        [await makeEnvironment(otherCompanyId), 'environment_not_found'],
      ] as const;
      for (const [defaultEnvironmentId, code] of cases) {
        const body = { name: 'displaced', defaultEnvironmentId };
        const answer = await operator.post<Refusal>(`/companies/${companyId}/agents`, body);
        expect([answer.status, answer.body.code]).toEqual([422, code]);
      }
    });

    it('answers an unknown company with 404', async () => {
      expect((await operator.post(`/companies/${newId()}/agents`, { name: 'nowhere' })).status).toBe(404);
    });
  });

  describe('find', () => {
    it('finds by name within a company, in any case', async () => {
      const { id } = await create({ name: 'Bosun' });
      await create({ name: 'Bosun' }, otherCompanyId);
      const { status, body } = await operator.get<Agent>(`/agents/bosun?companyId=${companyId}`);
      expect([status, body.id]).toEqual([200, id]);
    });

    it('finds by id also when a company is named, but only in that company', async () => {
      const { id } = await create({ name: 'by id' });
      expect((await operator.get(`/agents/${id}?companyId=${companyId}`)).status).toBe(200);
      expect((await operator.get(`/agents/${id}?companyId=${otherCompanyId}`)).status).toBe(404);
    });

    it('says that a name needs a company', async () => {
      const { status, body } = await operator.get<Refusal>('/agents/bosun');
      expect(status).toBe(400);
      expect(body.error).toContain('companyId');
    });

    it('lets an agent name the others of its company without saying which', async () => {
      const { id } = await create({ name: 'namer' });
      await create({ name: 'named' });
      expect((await (await clientOf(id)).get<Agent>('/agents/named')).body.name).toBe('named');
    });

    it('refuses to guess between two of one name', async () => {
      const ids = [(await create({ name: 'double' })).id, (await create({ name: 'double' })).id];
      const { status, body } = await operator.get<Refusal>(`/agents/double?companyId=${companyId}`);
      expect([status, body.code]).toEqual([409, 'agent_name_ambiguous']);
      expect(body.details).toEqual({ agentIds: ids.sort() });
    });
  });

  describe('me', () => {
    it('is the agent that asks', async () => {
      const { id } = await create({ name: 'self' });
      expect((await (await clientOf(id)).get<Agent>('/agents/me')).body.id).toBe(id);
    });

    it('tells an operator that it is no agent', async () => {
      const { status, body } = await operator.get<Refusal>('/agents/me');
      expect([status, body.code]).toEqual([403, 'not_an_agent']);
    });
  });

  describe('to an agent', () => {
    it('shows its own company’s agents, and answers others like unknown ones', async () => {
      const { id } = await create({ name: 'reader' });
      const foreign = await create({ name: 'foreign' }, otherCompanyId);
      const agent = await clientOf(id);
      expect((await agent.get<Agent[]>(`/companies/${companyId}/agents`)).body.map((row) => row.id)).toContain(id);
      expect((await agent.get(`/companies/${otherCompanyId}/agents`)).status).toBe(404);
      const unknown = await agent.get<Refusal>(`/agents/${newId()}`);
      expect((await agent.get<Refusal>(`/agents/${foreign.id}`)).body).toEqual(unknown.body);
      for (const verb of ['pause', 'resume', 'terminate']) {
        expect((await agent.post(`/agents/${foreign.id}/${verb}`)).status).toBe(404);
      }
    });

    it('lets it change none, itself included', async () => {
      const { id } = await create({ name: 'meek' });
      const agent = await clientOf(id);
      const answers = await Promise.all([
        agent.post(`/companies/${companyId}/agents`, { name: 'child' }),
        agent.patch(`/agents/${id}`, { name: 'bold' }),
        agent.delete(`/agents/${id}`),
        agent.post(`/agents/${id}/pause`),
        agent.get(`/agents/${id}/keys`),
        agent.post(`/agents/${id}/keys`, { name: 'more' }),
      ]);
      expect(answers.map(({ status }) => status)).toEqual(Array(6).fill(403));
    });
  });

  describe('update', () => {
    it('merges a new adapterConfig into the present one, unless it shall replace it', async () => {
      const { id } = await create({ name: 'm', adapterConfig: { command: 'sh', args: ['-c', 'true'] } });
      const merged = await operator.patch<Agent>(`/agents/${id}`, { adapterConfig: { graceSec: 3 } });
      expect(merged.body.adapterConfig).toEqual({ command: 'sh', args: ['-c', 'true'], graceSec: 3 });
      const change = { adapterConfig: { command: 'true' }, replaceAdapterConfig: true };
      expect((await operator.patch<Agent>(`/agents/${id}`, change)).body.adapterConfig).toEqual({ command: 'true' });
      expect(await actionsOn(id)).toEqual(['agent.created', 'agent.updated', 'agent.updated']);
    });

    it('starts the config of another adapter from nothing', async () => {
      const { id } = await create({ name: 'switch', adapterConfig: { command: 'sh' } });
      const change = { adapterType: 'http', adapterConfig: { url: 'http://127.0.0.1:9/' } };
      const { body } = await operator.patch<Agent>(`/agents/${id}`, change);
      expect(body).toMatchObject(change);
      expect(body.adapterConfig).toEqual(change.adapterConfig);
    });

    it.each([{ name: null }, { status: 'idle' }, { runtimeConfig: { heartbeat: { intervalSec: 1 } } }, { role: '' }])(
      'refuses %j and changes nothing',
      async (change) => {
        const before = await create({ name: 'same' });
        expect((await operator.patch(`/agents/${before.id}`, change)).status).toBe(400);
        expect((await operator.get<Agent>(`/agents/${before.id}`)).body).toEqual(before);
      },
    );

    it('merges into what a change that is under way leaves behind', async () => {
      const { id } = await create({ name: 'busy', adapterConfig: { command: 'sh' } });
      const change = `update agents set adapter_config = adapter_config || '{"timeoutSec": 2}' where id = $1`;
      const held = await holdTransaction(app.database, change, [id]);
      const answer = operator.patch<Agent>(`/agents/${id}`, { adapterConfig: { graceSec: 1 } });
      await held.blocksSomebody();
      await held.commit();
      expect((await answer).body.adapterConfig).toEqual({ command: 'sh', graceSec: 1, timeoutSec: 2 });
    });
  });

  describe('pause, resume, terminate', () => {
    it('pauses with a reason, and resumes', async () => {
      const { id } = await create({ name: 'tired' });
      const paused = await operator.post<Agent>(`/agents/${id}/pause`, { reason: 'storm' });
      expect(paused.status).toBe(200);
      expect(paused.body).toMatchObject({
        status: 'paused',
        pauseReason: 'storm',
        pausedAt: expect.any(String) as string,
      });
      const resumed = await operator.post<Agent>(`/agents/${id}/resume`);
      expect(resumed.body).toMatchObject({ status: 'idle', pauseReason: null, pausedAt: null });
      expect(await actionsOn(id)).toEqual(['agent.created', 'agent.paused', 'agent.resumed']);
    });

    it.each([
      ['cancels what it has under way', { reason: 'storm' }, { reason: 'storm', drain: false }],
      ['lets it drain', { drain: true }, { reason: 'manual', drain: true }],
    ])('records whether a pause %s', async (_name, body, details) => {
      const { id } = await create({ name: 'recorded' });
      expect((await operator.post(`/agents/${id}/pause`, body)).status).toBe(200);
      const sql = `select details from activity_log where entity_id = $1 and action = 'agent.paused'`;
      expect(await app.database.query(sql, [id])).toEqual([{ details }]);
    });

    it('refuses a drain that is neither true nor false', async () => {
      const { id } = await create({ name: 'undecided' });
      for (const drain of [null, 'yes']) {
        expect((await operator.post(`/agents/${id}/pause`, { drain })).status).toBe(400);
      }
    });

    it('changes nothing when repeated', async () => {
      const { id } = await create({ name: 'steady' });
      await operator.post(`/agents/${id}/resume`);
      const first = await operator.post<Agent>(`/agents/${id}/pause`);
      const second = await operator.post<Agent>(`/agents/${id}/pause`, { reason: 'again' });
      expect(second.body).toEqual(first.body);
      expect(await actionsOn(id)).toEqual(['agent.created', 'agent.paused']);
    });

    it('does not pause what is being terminated', async () => {
      const { id } = await create({ name: 'crossed' });
      const terminate = `update agents set status = 'terminated' where id = $1`;
      const held = await holdTransaction(app.database, terminate, [id]);
      const answer = operator.post<Refusal>(`/agents/${id}/pause`);
      await held.blocksSomebody();
      await held.commit();
      expect((await answer).body.code).toBe('agent_terminated');
    });

    it('ends an agent for good', async () => {
      const { id } = await create({ name: 'done' });
      expect((await operator.post<Agent>(`/agents/${id}/terminate`)).body.status).toBe('terminated');
      expect((await operator.post<Agent>(`/agents/${id}/terminate`)).status).toBe(200);
      for (const [method, path, body] of [
        ['post', 'resume', {}],
        ['post', 'pause', {}],
        ['post', 'keys', { name: 'ghost' }],
      ] as const) {
        const answer = await operator[method]<Refusal>(`/agents/${id}/${path}`, body);
        expect([answer.status, answer.body.code]).toEqual([409, 'agent_terminated']);
      }
      expect((await operator.patch(`/agents/${id}`, { name: 'undone' })).status).toBe(409);
      expect(await actionsOn(id)).toEqual(['agent.created', 'agent.terminated']);
    });
  });

  describe('pause after failures', () => {
    const pauseAfterFailures = (id: string, reason = 'It failed 6 times') =>
      inTransaction(app.get(EntityManager), () => app.get(AgentLifecycleService).pauseAfterFailures(id, reason));

    it('pauses with the reason, and lets the agent drain', async () => {
      const { id } = await create({ name: 'failing' });
      await pauseAfterFailures(id, 'x'.repeat(600));
      const { body } = await operator.get<Agent>(`/agents/${id}`);
      expect(body).toMatchObject({ status: 'paused', pauseReason: 'x'.repeat(500) });
      const sql = `select actor_type, details -> 'drain' as drain from activity_log where entity_id = $1 and action = $2`;
      expect(await app.database.query(sql, [id, 'agent.paused'])).toEqual([{ actor_type: 'system', drain: true }]);
    });

    it('leaves an agent alone that is paused, terminated or deleted', async () => {
      for (const end of ['pause', 'terminate', null]) {
        const { id } = await create({ name: 'over' });
        await (end ? operator.post(`/agents/${id}/${end}`) : operator.delete(`/agents/${id}`));
        const before = await actionsOn(id);
        await pauseAfterFailures(id);
        expect(await actionsOn(id)).toEqual(before);
      }
    });
  });

  describe('timer', () => {
    const nextTimerAt = async (id: string) =>
      (await operator.get<{ nextTimerAt: string | null }>(`/agents/${id}/runtime-state`)).body.nextTimerAt;
    const timer = (intervalSec: number, enabled = true) => ({ runtimeConfig: { heartbeat: { enabled, intervalSec } } });
    /** Seconds from now, by the clock of the database. */
    const dueIn = async (id: string) => {
      const sql = `select extract(epoch from next_timer_at - clock_timestamp())::float as seconds from agents where id = $1`;
      return (await app.database.query<{ seconds: number }>(sql, [id]))[0].seconds;
    };

    it('is due first within an interval, spread over it', async () => {
      const due: number[] = [];
      for (let n = 0; n < 12; n += 1) due.push(await dueIn((await create({ name: 'timed', ...timer(36_000) })).id));
      expect(Math.min(...due)).toBeGreaterThan(-5);
      expect(Math.max(...due)).toBeLessThanOrEqual(36_000);
      expect(Math.max(...due) - Math.min(...due)).toBeGreaterThan(3600);
    });

    it('stays while the interval stays, and follows another one and the switch', async () => {
      const { id } = await create({ name: 'retimed', ...timer(36_000) });
      const first = await nextTimerAt(id);
      expect(first).not.toBeNull();
      await operator.patch(`/agents/${id}`, { name: 'renamed' });
      await operator.patch(`/agents/${id}`, {
        runtimeConfig: { heartbeat: { enabled: true, intervalSec: 36_000, maxConcurrentRuns: 1 } },
      });
      expect(await nextTimerAt(id)).toBe(first);
      await operator.patch(`/agents/${id}`, timer(600));
      expect(await dueIn(id)).toBeLessThanOrEqual(600);
      await operator.patch(`/agents/${id}`, timer(600, false));
      expect(await nextTimerAt(id)).toBeNull();
    });

    it('is moved on by a resume when it passed meanwhile', async () => {
      const { id } = await create({ name: 'rested', ...timer(36_000) });
      await operator.post(`/agents/${id}/pause`);
      const past = `update agents set next_timer_at = now() - interval '25 hours' where id = $1`;
      await app.database.query(past, [id]);
      await operator.post(`/agents/${id}/resume`);
      // 3 × 10 h after 25 h ago.
      expect(Math.round((await dueIn(id)) / 60)).toBe(300);
    });

    it('is off once the agent is terminated', async () => {
      const { id } = await create({ name: 'untimed', ...timer(36_000) });
      await operator.post(`/agents/${id}/terminate`);
      expect(await nextTimerAt(id)).toBeNull();
    });
  });

  describe('delete', () => {
    it('terminates it, takes it out of sight and keeps its row', async () => {
      const { id } = await create({ name: 'gone' });
      expect((await operator.delete(`/agents/${id}`)).status).toBe(204);
      expect((await operator.get(`/agents/${id}`)).status).toBe(404);
      expect((await operator.get(`/agents/gone?companyId=${companyId}`)).status).toBe(404);
      const rows = await app.database.query('select status from agents where id = $1', [id]);
      expect(rows).toEqual([{ status: 'terminated' }]);
      expect(await actionsOn(id)).toEqual(['agent.created', 'agent.terminated', 'agent.deleted']);
    });

    it('is refused while it is running, naming the runs', async () => {
      const { id } = await create({ name: 'working' });
      const runId = await makeRunningRun(id);
      const { status, body } = await operator.delete<Refusal>(`/agents/${id}`);
      expect([status, body.code]).toEqual([409, 'agent_has_running_runs']);
      expect(body.details).toEqual({ runIds: [runId] });
    });
  });

  describe('runtime state', () => {
    it('shows what it is doing, and how it wants to be woken', async () => {
      const { id } = await create({ name: 'shown', runtimeConfig: { heartbeat: { intervalSec: 60 } } });
      const idle = await operator.get(`/agents/${id}/runtime-state`);
      expect(idle.body).toEqual({
        agentId: id,
        companyId,
        adapterType: 'process',
        status: 'idle',
        heartbeat: { enabled: false, intervalSec: 60, wakeOnDemand: true, maxConcurrentRuns: 5 },
        lastHeartbeatAt: null,
        nextTimerAt: null,
        runningRuns: 0,
        waitingRuns: 0,
        lastRunId: null,
        lastRunStatus: null,
        lastError: null,
      });
      const lastRunId = await makeRunningRun(id);
      const busy = await operator.get(`/agents/${id}/runtime-state`);
      expect(busy.body).toMatchObject({ status: 'running', runningRuns: 1, lastRunId, lastRunStatus: 'running' });
      expect((await operator.get<Agent>(`/agents/${id}`)).body.status).toBe('running');
    });
  });

  describe('keys', () => {
    it('shows the token once, and lists keys without it', async () => {
      const { id } = await create({ name: 'keyed' });
      const made = await operator.post<{ id: string; token: string }>(`/agents/${id}/keys`, {
        name: 'cli',
        scope: { kind: 'standard' },
      });
      expect(made.status).toBe(201);
      expect(Object.keys(made.body).sort()).toEqual(['createdAt', 'id', 'name', 'token']);
      const { body } = await operator.get<object[]>(`/agents/${id}/keys`);
      expect(body).toEqual([
        { id: made.body.id, name: 'cli', createdAt: expect.any(String) as string, lastUsedAt: null, revokedAt: null },
      ]);
    });

    it('does not keep the token for a repeated request', async () => {
      const { id } = await create({ name: 'repeated' });
      const client = operator.with({ 'idempotency-key': 'key-once' });
      const first = await client.post<{ id: string; token: string }>(`/agents/${id}/keys`, { name: 'cli' });
      const second = await client.post<{ id: string }>(`/agents/${id}/keys`, { name: 'cli' });
      expect(second.body).toEqual({ id: first.body.id, name: 'cli', createdAt: expect.any(String) as string });
      expect(JSON.stringify(await app.database.query('select answer from idempotency_keys'))).not.toContain('berth_');
    });

    it('notes when a key was used', async () => {
      const { id } = await create({ name: 'used' });
      const client = await clientOf(id);
      await client.get('/agents/me');
      const used = async () =>
        (await operator.get<{ lastUsedAt: string | null }[]>(`/agents/${id}/keys`)).body[0]?.lastUsedAt ?? null;
      while ((await used()) === null) await new Promise(setImmediate);
      const first = await used();
      await client.get('/agents/me');
      expect(await used()).toBe(first);
    });

    it('revokes once, and keeps other agents’ keys out of reach', async () => {
      const { id } = await create({ name: 'revoked' });
      const other = await create({ name: 'bystander' });
      const key = (await operator.post<{ id: string }>(`/agents/${id}/keys`, { name: 'cli' })).body;
      expect((await operator.delete(`/agents/${other.id}/keys/${key.id}`)).status).toBe(404);
      expect((await operator.delete(`/agents/${id}/keys/${key.id}`)).status).toBe(204);
      expect((await operator.delete(`/agents/${id}/keys/${key.id}`)).status).toBe(204);
      const sql = `select action from activity_log where entity_id = $1 order by seq`;
      const rows = await app.database.query(sql, [key.id]);
      expect(rows).toEqual([{ action: 'agent_key.created' }, { action: 'agent_key.revoked' }]);
    });
  });
});
