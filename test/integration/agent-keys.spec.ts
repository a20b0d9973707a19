import type { ApiClient } from '../support/api-client.js';
import { AgentHarness } from './agent-harness.js';

describe('the keys of an agent', () => {
  let agents: AgentHarness;
  let operator: ApiClient;

  beforeAll(async () => {
    agents = await AgentHarness.start();
    ({ operator } = agents);
  });
  afterAll(() => agents.close());

  it('shows the token once, and lists keys without it', async () => {
    const { id } = await agents.create({ name: 'keyed' });
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
    const { id } = await agents.create({ name: 'repeated' });
    const client = operator.with({ 'idempotency-key': 'key-once' });
    const first = await client.post<{ id: string; token: string }>(`/agents/${id}/keys`, { name: 'cli' });
    const second = await client.post<{ id: string }>(`/agents/${id}/keys`, { name: 'cli' });
    expect(second.body).toEqual({ id: first.body.id, name: 'cli', createdAt: expect.any(String) as string });
    expect(JSON.stringify(await agents.app.database.query('select answer from idempotency_keys'))).not.toContain(
      'berth_',
    );
  });

  it('notes when a key was used', async () => {
    const { id } = await agents.create({ name: 'used' });
    const client = await agents.clientOf(id);
    await client.get('/agents/me');
    const used = async () =>
      (await operator.get<{ lastUsedAt: string | null }[]>(`/agents/${id}/keys`)).body[0]?.lastUsedAt ?? null;
    while ((await used()) === null) await new Promise(setImmediate);
    const first = await used();
    await client.get('/agents/me');
    expect(await used()).toBe(first);
  });

  it('revokes once, and keeps other agents’ keys out of reach', async () => {
    const { id } = await agents.create({ name: 'revoked' });
    const other = await agents.create({ name: 'bystander' });
    const key = (await operator.post<{ id: string }>(`/agents/${id}/keys`, { name: 'cli' })).body;
    expect((await operator.delete(`/agents/${other.id}/keys/${key.id}`)).status).toBe(404);
    expect((await operator.delete(`/agents/${id}/keys/${key.id}`)).status).toBe(204);
    expect((await operator.delete(`/agents/${id}/keys/${key.id}`)).status).toBe(204);
    const sql = `select action from activity_log where entity_id = $1 order by seq`;
    const rows = await agents.app.database.query(sql, [key.id]);
    expect(rows).toEqual([{ action: 'agent_key.created' }, { action: 'agent_key.revoked' }]);
  });
});
