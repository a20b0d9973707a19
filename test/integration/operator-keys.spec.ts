import { newId } from '../../src/database/id.js';
import { ApiClient, type Refusal } from '../support/api-client.js';
import { eventually } from '../support/eventually.js';
import { Scenario, type ActivityEntry } from '../support/scenario.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

interface Key {
  id: string;
  name: string;
  token?: string;
  companyIds: string[] | null;
  readOnly: boolean;
  expiresAt: string | null;
  createdBy: string;
  lastUsedAt: string | null;
  revokedBy: string | null;
  revokedAt: string | null;
}

const KEYS = '/board-api-keys';

describe('the keys of operators', () => {
  let app: TestApp;
  let root: ApiClient;
  let quay: string;
  let pier: string;

  beforeAll(async () => {
    let first = '';
    app = await startStillApp({ config: { auth: 'authenticated' }, showFirstKey: (token) => (first = token) });
    root = new ApiClient(app.url).as(first);
    quay = (await root.post<{ id: string }>('/companies', { name: 'Quay' })).body.id;
    pier = (await root.post<{ id: string }>('/companies', { name: 'Pier' })).body.id;
  });
  afterAll(() => app.close());

  const make = async (fields: object = {}): Promise<Key & { api: ApiClient }> => {
    const { status, body } = await root.post<Key>(KEYS, { name: 'dashboard', ...fields });
    expect(status).toBe(201);
    return { ...body, api: root.as(body.token!) };
  };
  const kept = async (id: string) => {
    const { body } = await root.get<Key[]>(KEYS);
    return body.find((key) => key.id === id)!;
  };
  const codeOf = async (answer: Promise<{ status: number; body: unknown }>) => {
    const { status, body } = await answer;
    return status < 400 ? status : [status, (body as Refusal).code];
  };

  it('are wanted with every request, save those that ask how the server is', async () => {
    const nobody = new ApiClient(app.url);
    for (const path of ['/companies', `/companies/${quay}`, '/cli-auth/me', '/agents/me', KEYS, '/admin/runners']) {
      const { status, body, headers } = await nobody.get<Refusal>(path);
      expect([path, status, body.code, headers.get('www-authenticate')]).toEqual([
        path,
        401,
        'unauthenticated',
        'Bearer',
      ]);
    }
    expect((await fetch(`${app.url}/metrics`)).status).toBe(401);
    for (const path of ['/health', '/health/live', '/health/ready', '/openapi.json']) {
      expect([path, (await nobody.get(path)).status]).toEqual([path, 200]);
    }
    expect((await fetch(`${app.url}/docs`)).status).toBe(200);
  });

  it('let whoever has one for the whole instance do everything, metrics included', async () => {
    const { api, token } = await make();
    expect(await codeOf(api.get('/admin/runners'))).toBe(200);
    expect(await codeOf(api.post('/companies', { name: 'Jetty' }))).toBe(201);
    expect(await codeOf(api.post(KEYS, { name: 'another' }))).toBe(201);
    const metrics = await fetch(`${app.url}/metrics`, { headers: { authorization: `Bearer ${token}` } });
    expect(metrics.status).toBe(200);
  });

  it('show their secret once, and are kept as a hash', async () => {
    const { token, ...key } = await make();
    expect(token).toMatch(new RegExp(`^berth_operator_${key.id}_[\\w-]{43}$`));
    expect(await kept(key.id)).not.toHaveProperty('token');
    expect(JSON.stringify(await app.database.query('select * from operator_keys'))).not.toContain(token!.slice(-43));
    const forged = `${token!.slice(0, -43)}${'A'.repeat(43)}`;
    expect(await codeOf(root.as(forged).get('/companies'))).toEqual([401, 'unauthenticated']);
  });

  it('show no secret to a repeated request', async () => {
    const once = root.with({ 'idempotency-key': newId() });
    const first = await once.post<Key>(KEYS, { name: 'retried' });
    const again = await once.post<Key>(KEYS, { name: 'retried' });
    expect([again.body.id, again.body.token]).toEqual([first.body.id, undefined]);
    expect((await app.database.query(`select id from idempotency_keys where answer ? 'token'`)).length).toBe(0);
  });

  it('say who one is', async () => {
    const { id, api } = await make({ name: 'pilot', companyIds: [quay], readOnly: true });
    expect((await api.get('/cli-auth/me')).body).toEqual({
      user: { id: `operator-key:${id}`, name: 'pilot', email: null },
      userId: `operator-key:${id}`,
      isInstanceAdmin: false,
      companyIds: [quay],
      source: 'board_key',
      keyId: id,
      readOnly: true,
      agentId: null,
      companyId: null,
      runId: null,
    });
    expect((await root.get('/cli-auth/me')).body).toMatchObject({
      isInstanceAdmin: true,
      companyIds: [],
      source: 'board_key',
    });
  });

  it('read only, where they are made so', async () => {
    const { api } = await make({ readOnly: true });
    expect(await codeOf(api.get(`/companies/${quay}/agents`))).toBe(200);
    expect(await codeOf(api.get('/admin/runners'))).toBe(200);
    const refused = [403, 'read_only_key'];
    expect(await codeOf(api.post(`/companies/${quay}/agents`, { name: 'mate' }))).toEqual(refused);
    expect(await codeOf(api.post(`/companies/${quay}/issues`, { title: 'Paint' }))).toEqual(refused);
    expect(await codeOf(api.patch(`/companies/${quay}`, { name: 'Mine' }))).toEqual(refused);
    expect(await codeOf(api.post(KEYS, { name: 'stronger' }))).toEqual(refused);
  });

  it('see the companies that they name, and nothing that belongs to none', async () => {
    const { api } = await make({ companyIds: [quay.toUpperCase(), quay] });
    expect((await api.get<{ id: string }[]>('/companies')).body.map(({ id }) => id)).toEqual([quay]);
    expect(await codeOf(api.patch(`/companies/${quay}`, { description: 'stone' }))).toBe(200);
    expect(await codeOf(api.get(`/companies/${pier}`))).toEqual([404, 'not_found']);
    expect(await codeOf(api.post(`/companies/${pier}/issues`, { title: 'Paint' }))).toEqual([404, 'not_found']);
    for (const path of ['/admin/runners', '/admin/queue', '/admin/verify', '/admin/quarantine', KEYS]) {
      expect([path, await codeOf(api.get(path))]).toEqual([path, [403, 'instance_key_required']]);
    }
    expect(await codeOf(api.post('/companies', { name: 'Jetty' }))).toEqual([403, 'instance_key_required']);
    expect(await codeOf(api.post('/admin/leases/revoke', { companyId: quay }))).toEqual([403, 'instance_key_required']);
  });

  it('wake the agents of their companies alone', async () => {
    const agent = { name: 'mate', adapterConfig: { command: 'true' } };
    const ours = (await root.post<{ id: string }>(`/companies/${quay}/agents`, agent)).body.id;
    const theirs = (await root.post<{ id: string }>(`/companies/${pier}/agents`, agent)).body.id;
    const { id, api } = await make({ companyIds: [quay] });
    expect(await codeOf(api.post(`/agents/${ours}/wakeup`))).toBe(202);
    expect(await codeOf(api.post(`/agents/${theirs}/wakeup`))).toEqual([404, 'not_found']);
    const { body } = await root.get<ActivityEntry[]>(`/companies/${quay}/activity?action=heartbeat.invoked`);
    expect(body[0]).toMatchObject({ actorType: 'user', actorId: `operator-key:${id}` });
  });

  it('are refused from the next request on when they are revoked, for good', async () => {
    const { id, api } = await make({ companyIds: [quay] });
    expect(await codeOf(api.get('/companies'))).toBe(200);
    expect(await codeOf(root.delete(`${KEYS}/${id}`))).toBe(204);
    expect(await codeOf(api.get('/companies'))).toEqual([401, 'unauthenticated']);
    const { revokedAt } = await kept(id);
    expect(await codeOf(root.delete(`${KEYS}/${id}`))).toBe(204);
    expect(await kept(id)).toMatchObject({ revokedAt, revokedBy: expect.stringMatching(/^operator-key:/) });
    expect(await codeOf(root.delete(`${KEYS}/${newId()}`))).toEqual([404, 'not_found']);
    const { body } = await root.get<ActivityEntry[]>(`/companies/${quay}/activity?entityId=${id}`);
    expect(body.map(({ action }) => action)).toEqual(['operator_key.revoked', 'operator_key.created']);
  });

  it('are refused when they have expired', async () => {
    const soon = new Date(Date.now() + 3_600_000).toISOString();
    const { id, api } = await make({ expiresAt: soon });
    expect((await kept(id)).expiresAt).toBe(soon);
    expect(await codeOf(api.get('/companies'))).toBe(200);
    await app.database.query(`update operator_keys set expires_at = now() - interval '1 ms' where id = $1`, [id]);
    expect(await codeOf(api.get('/companies'))).toEqual([401, 'unauthenticated']);
  });

  it('keep when they were last used, and note it once a minute', async () => {
    const { id, api } = await make();
    const used = () => kept(id).then(({ lastUsedAt }) => lastUsedAt);
    expect(await used()).toBeNull();
    await api.get('/companies');
    const first = await eventually(used, (at) => at !== null);
    await api.get('/companies');
    await app.database.query(`update operator_keys set last_used_at = now() - interval '2 minutes' where id = $1`, [
      id,
    ]);
    expect(await used()).not.toBe(first);
    await api.get('/companies');
    await eventually(used, (at) => at! >= first!);
  });

  it.each([
    ['no name', {}, 400],
    ['no companies', { name: 'k', companyIds: [] }, 400],
    ['something that is no id', { name: 'k', companyIds: ['quay'] }, 400],
    ['a company that there is not', { name: 'k', companyIds: [newId()] }, 404],
    ['an end in the past', { name: 'k', expiresAt: '2020-01-01T00:00:00Z' }, 400],
    ['an end that is no time', { name: 'k', expiresAt: 'soon' }, 400],
  ])('are not made with %s', async (_what, body, status) => {
    expect((await root.post(KEYS, body)).status).toBe(status);
  });

  it('are made by those who ask as Paperclip’s client does', async () => {
    const asked = { name: 'cli-board', requestedCompanyId: quay, expiresAt: null };
    expect((await root.post<Key>(KEYS, asked)).body).toMatchObject({ companyIds: null, expiresAt: null });
  });

  it('are honoured by a local trusted server too', async () => {
    const { api, token } = await make({ readOnly: true });
    const trusted = await startStillApp({ database: app.database });
    try {
      expect(await codeOf(new ApiClient(trusted.url).as(token!).post('/companies', { name: 'Jetty' }))).toEqual([
        403,
        'read_only_key',
      ]);
      expect(await new Scenario(trusted.url).company()).toBeTruthy();
    } finally {
      await trusted.close();
    }
    expect(await codeOf(api.get('/companies'))).toBe(200);
  });
});
