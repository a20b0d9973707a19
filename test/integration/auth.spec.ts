import { mintKey } from '../../src/auth/key-token.js';
import { RunTokens } from '../../src/auth/run-tokens.js';
import { CredentialResolvers } from '../../src/auth/credential-resolvers.js';
import { newId } from '../../src/database/id.js';
import { ApiClient, type Refusal } from '../support/api-client.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

interface Me {
  userId: string | null;
  isInstanceAdmin: boolean;
  companyIds: string[];
  source: string;
  agentId: string | null;
  companyId: string | null;
  runId: string | null;
}

describe('who calls', () => {
  let app: TestApp;
  let operator: ApiClient;
  let companyId: string;
  let agentId: string;
  let keyId: string;
  let token: string;

  beforeAll(async () => {
    app = await startTestApp();
    operator = new ApiClient(app.url);
    companyId = (await operator.post<{ id: string }>('/companies', { name: 'Quay' })).body.id;
    agentId = (await operator.post<{ id: string }>(`/companies/${companyId}/agents`, { name: 'mate' })).body.id;
    const key = await operator.post<{ id: string; token: string }>(`/agents/${agentId}/keys`, { name: 'laptop' });
    ({ id: keyId, token } = key.body);
  });
  afterAll(() => app.close());

  it('is the operator when no credential is shown', async () => {
    const { status, body } = await operator.get<Me>('/cli-auth/me');
    expect(status).toBe(200);
    expect(body).toMatchObject({
      userId: 'local-operator',
      isInstanceAdmin: true,
      source: 'local_trusted',
      agentId: null,
    });
  });

  it.each(['X-Forwarded-For', 'Forwarded', 'X-Real-IP'])('is nobody when a proxy asks, as %s says', async (header) => {
    const proxied = operator.with({ [header]: 'for=127.0.0.1' });
    expect(await proxied.get('/companies')).toMatchObject({ status: 401, body: { code: 'unauthenticated' } });
    expect(await proxied.post('/companies', { name: 'Theirs' })).toMatchObject({ status: 401 });
    expect(await proxied.with({ authorization: `Bearer ${token}` }).get('/agents/me')).toMatchObject({ status: 200 });
    expect(await proxied.get('/health/live')).toMatchObject({ status: 200 });
  });

  it('is the agent whose key is shown', async () => {
    const { status, body } = await operator.as(token).get<Me>('/cli-auth/me');
    expect(status).toBe(200);
    expect(body).toEqual({
      user: null,
      userId: null,
      isInstanceAdmin: false,
      companyIds: [companyId],
      source: 'agent_key',
      keyId: null,
      readOnly: false,
      agentId,
      companyId,
      runId: null,
    });
  });

  it.each([
    ['another scheme', 'Basic bG9jYWw6'],
    ['no token', 'Bearer '],
    ['an unknown kind of token', 'Bearer nonsense'],
    ['a token without a secret', 'Bearer berth_agent_0198c0de-0000-7000-8000-000000000000'],
    ['the token of a key that was never made', `Bearer ${mintKey('agent', newId()).token}`],
    ['a token whose id is no id', 'Bearer berth_agent_x_y'],
  ])('refuses %s', async (_name, authorization) => {
    const { status, body, headers } = await new ApiClient(app.url, { authorization }).get<Refusal>('/companies');
    expect(status).toBe(401);
    expect(body.code).toBe('unauthenticated');
    expect(body.error).toMatch(/^[A-Z].{20,}$/);
    expect(headers.get('www-authenticate')).toBe('Bearer');
  });

  it('refuses a run token that is no run’s', async () => {
    const { token: signed } = await app.get(RunTokens).mint({ runId: newId(), agentId, companyId });
    expect((await operator.as(signed).get('/companies')).status).toBe(401);
  });

  it('refuses the right key with the wrong secret', async () => {
    const forged = mintKey('agent', keyId).token;
    expect((await operator.as(forged).get('/companies')).status).toBe(401);
  });

  it('refuses a credential also where none is needed, before it looks for anything', async () => {
    expect((await operator.as('nonsense').get(`/companies/${newId()}`)).status).toBe(401);
    expect((await operator.as('nonsense').get('/health')).status).toBe(401);
  });

  it('refuses a revoked key from the next request on', async () => {
    const key = await operator.post<{ id: string; token: string }>(`/agents/${agentId}/keys`, { name: 'lost' });
    expect((await operator.as(key.body.token).get('/companies')).status).toBe(200);
    expect((await operator.delete(`/agents/${agentId}/keys/${key.body.id}`)).status).toBe(204);
    expect((await operator.as(key.body.token).get('/companies')).status).toBe(401);
  });

  it('refuses the key of a terminated agent, and not of a paused one', async () => {
    const { id } = (await operator.post<{ id: string }>(`/companies/${companyId}/agents`, { name: 'cook' })).body;
    const key = await operator.post<{ token: string }>(`/agents/${id}/keys`, { name: 'galley' });
    await operator.post(`/agents/${id}/pause`);
    expect((await operator.as(key.body.token).get('/agents/me')).status).toBe(200);
    await operator.post(`/agents/${id}/terminate`);
    expect((await operator.as(key.body.token).get('/agents/me')).status).toBe(401);
  });

  describe('X-Paperclip-Run-Id', () => {
    const runId = newId();
    const runToken = 'test_run_token';

    beforeAll(() => {
      app.get(CredentialResolvers).register({
        prefix: 'test_run_',
        resolve: (shown) =>
          Promise.resolve(shown === runToken ? { type: 'agent', id: agentId, companyId, runId } : null),
      });
    });

    it('is accepted with that run’s token', async () => {
      const agent = operator.as(runToken, { 'x-paperclip-run-id': runId });
      expect((await agent.get<Me>('/cli-auth/me')).body).toMatchObject({ source: 'run_token', agentId, runId });
    });

    it('is refused with another run’s token', async () => {
      const { status, body } = await operator
        .as(runToken, { 'x-paperclip-run-id': newId() })
        .get<Refusal>('/companies');
      expect([status, body.code]).toEqual([403, 'run_mismatch']);
    });

    it('is refused with a key that belongs to no run', async () => {
      const { status, body } = await operator.as(token, { 'x-paperclip-run-id': runId }).get<Refusal>('/companies');
      expect([status, body.code]).toEqual([403, 'run_mismatch']);
    });

    it('says nothing of the operator', async () => {
      expect((await operator.with({ 'x-paperclip-run-id': runId }).get('/companies')).status).toBe(200);
    });
  });

  it('keeps the hash of a key and never its secret', async () => {
    const rows = await app.database.query('select * from agent_api_keys');
    expect(JSON.stringify(rows)).not.toContain(token.slice(-43));
  });

  it('lets no agent do what only an operator may', async () => {
    const { status, body } = await operator.as(token).post<Refusal>('/companies', { name: 'Mutiny' });
    expect([status, body.code]).toEqual([403, 'operator_only']);
    expect(body.error.toLowerCase()).toContain('board access required');
  });
});
