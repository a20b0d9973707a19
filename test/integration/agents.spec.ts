import { newId } from '../../src/database/id.js';
import type { ApiClient, Refusal } from '../support/api-client.js';
import { holdTransaction } from '../support/held-transaction.js';
import { AgentHarness, type Agent } from './agent-harness.js';

describe('agents', () => {
  let agents: AgentHarness;
  let operator: ApiClient;
  let companyId: string;
  let otherCompanyId: string;

  beforeAll(async () => {
    agents = await AgentHarness.start();
    ({ operator, companyId } = agents);
    otherCompanyId = (await operator.post<{ id: string }>('/companies', { name: 'Elsewhere' })).body.id;
  });
  afterAll(() => agents.close());

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
      expect(await agents.actionsOn(body.id)).toEqual(['agent.created']);
    });

    it('is made once under one key, and its config is kept nowhere else', async () => {
      const fresh = (await operator.post<{ id: string }>('/companies', { name: 'Fresh' })).body.id;
      const keyed = operator.with({ 'idempotency-key': 'once' });
      const body = { name: 'repeated', adapterConfig: { env: { A: 'a-plain-value' } } };
      const made = () => keyed.post<Agent>(`/companies/${fresh}/agents`, body);
      const first = await made();
      expect(first).toMatchObject({ status: 201, body });
      expect(await made()).toMatchObject({ status: 201, body: first.body });
      const kept = await agents.app.database.query('select answer from idempotency_keys where company_id = $1', [
        fresh,
      ]);
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
      const { id, ...agent } = await agents.create({ name: 'careful', runtimeConfig });
      expect(agent.runtimeConfig).toEqual(runtimeConfig);
      const rows = await agents.app.database.query('select max_concurrent_runs from agents where id = $1', [id]);
      expect(rows).toEqual([{ max_concurrent_runs: 1 }]);
    });

    it('refuses a config above 64 KiB', async () => {
      const adapterConfig = { command: 'sh', args: ['x'.repeat(65_536)] };
      const answer = await operator.post(`/companies/${companyId}/agents`, { name: 'large', adapterConfig });
      expect(answer.status).toBe(400);
    });

    it('refuses a default environment that is archived or another company’s', async () => {
      const cases = [
        [await agents.environment(companyId, 'archived'), 'environment_archived'],
        [await agents.environment(otherCompanyId), 'environment_not_found'],
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
      const { id } = await agents.create({ name: 'Bosun' });
      await agents.create({ name: 'Bosun' }, otherCompanyId);
      const { status, body } = await operator.get<Agent>(`/agents/bosun?companyId=${companyId}`);
      expect([status, body.id]).toEqual([200, id]);
    });

    it('finds by id also when a company is named, but only in that company', async () => {
      const { id } = await agents.create({ name: 'by id' });
      expect((await operator.get(`/agents/${id}?companyId=${companyId}`)).status).toBe(200);
      expect((await operator.get(`/agents/${id}?companyId=${otherCompanyId}`)).status).toBe(404);
    });

    it('says that a name needs a company', async () => {
      const { status, body } = await operator.get<Refusal>('/agents/bosun');
      expect(status).toBe(400);
      expect(body.error).toContain('companyId');
    });

    it('lets an agent name the others of its company without saying which', async () => {
      const { id } = await agents.create({ name: 'namer' });
      await agents.create({ name: 'named' });
      expect((await (await agents.clientOf(id)).get<Agent>('/agents/named')).body.name).toBe('named');
    });

    it('refuses to guess between two of one name', async () => {
      const ids = [(await agents.create({ name: 'double' })).id, (await agents.create({ name: 'double' })).id];
      const { status, body } = await operator.get<Refusal>(`/agents/double?companyId=${companyId}`);
      expect([status, body.code]).toEqual([409, 'agent_name_ambiguous']);
      expect(body.details).toEqual({ agentIds: ids.sort() });
    });
  });

  describe('me', () => {
    it('is the agent that asks', async () => {
      const { id } = await agents.create({ name: 'self' });
      expect((await (await agents.clientOf(id)).get<Agent>('/agents/me')).body.id).toBe(id);
    });

    it('tells an operator that it is no agent', async () => {
      const { status, body } = await operator.get<Refusal>('/agents/me');
      expect([status, body.code]).toEqual([403, 'not_an_agent']);
    });
  });

  describe('to an agent', () => {
    it('shows its own company’s agents, and answers others like unknown ones', async () => {
      const { id } = await agents.create({ name: 'reader' });
      const foreign = await agents.create({ name: 'foreign' }, otherCompanyId);
      const agent = await agents.clientOf(id);
      expect((await agent.get<Agent[]>(`/companies/${companyId}/agents`)).body.map((row) => row.id)).toContain(id);
      expect((await agent.get(`/companies/${otherCompanyId}/agents`)).status).toBe(404);
      const unknown = await agent.get<Refusal>(`/agents/${newId()}`);
      expect((await agent.get<Refusal>(`/agents/${foreign.id}`)).body).toEqual(unknown.body);
      for (const verb of ['pause', 'resume', 'terminate']) {
        expect((await agent.post(`/agents/${foreign.id}/${verb}`)).status).toBe(404);
      }
    });

    it('lets it change none, itself included', async () => {
      const { id } = await agents.create({ name: 'meek' });
      const agent = await agents.clientOf(id);
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
      const { id } = await agents.create({ name: 'm', adapterConfig: { command: 'sh', args: ['-c', 'true'] } });
      const merged = await operator.patch<Agent>(`/agents/${id}`, { adapterConfig: { graceSec: 3 } });
      expect(merged.body.adapterConfig).toEqual({ command: 'sh', args: ['-c', 'true'], graceSec: 3 });
      const change = { adapterConfig: { command: 'true' }, replaceAdapterConfig: true };
      expect((await operator.patch<Agent>(`/agents/${id}`, change)).body.adapterConfig).toEqual({ command: 'true' });
      expect(await agents.actionsOn(id)).toEqual(['agent.created', 'agent.updated', 'agent.updated']);
    });

    it('starts the config of another adapter from nothing', async () => {
      const { id } = await agents.create({ name: 'switch', adapterConfig: { command: 'sh' } });
      const change = { adapterType: 'http', adapterConfig: { url: 'http://127.0.0.1:9/' } };
      const { body } = await operator.patch<Agent>(`/agents/${id}`, change);
      expect(body).toMatchObject(change);
      expect(body.adapterConfig).toEqual(change.adapterConfig);
    });

    it.each([{ name: null }, { status: 'idle' }, { runtimeConfig: { heartbeat: { intervalSec: 1 } } }, { role: '' }])(
      'refuses %j and changes nothing',
      async (change) => {
        const before = await agents.create({ name: 'same' });
        expect((await operator.patch(`/agents/${before.id}`, change)).status).toBe(400);
        expect((await operator.get<Agent>(`/agents/${before.id}`)).body).toEqual(before);
      },
    );

    it('merges into what a change that is under way leaves behind', async () => {
      const { id } = await agents.create({ name: 'busy', adapterConfig: { command: 'sh' } });
      const change = `update agents set adapter_config = adapter_config || '{"timeoutSec": 2}' where id = $1`;
      const held = await holdTransaction(agents.app.database, change, [id]);
      const answer = operator.patch<Agent>(`/agents/${id}`, { adapterConfig: { graceSec: 1 } });
      await held.blocksSomebody();
      await held.commit();
      expect((await answer).body.adapterConfig).toEqual({ command: 'sh', graceSec: 1, timeoutSec: 2 });
    });
  });
});
