import type { ApiClient, Refusal } from '../support/api-client.js';
import { EnvironmentHarness, type Environment } from './environment-harness.js';

interface Workspace {
  id: string;
  name: string;
  mode: string;
  cwd: string;
  host: string | null;
  status: string;
}

let harness: EnvironmentHarness;
let operator: ApiClient;

beforeAll(async () => {
  harness = await EnvironmentHarness.start();
  ({ operator } = harness);
});
afterAll(() => harness.close());

describe('execution workspaces', () => {
  let companyId: string;
  let local: Environment;

  beforeAll(async () => {
    companyId = await harness.company();
    local = await harness.localOf(companyId);
  });

  const create = (fields: object) =>
    operator.post<Workspace & Refusal>(`/companies/${companyId}/execution-workspaces`, {
      environmentId: local.id,
      name: 'website',
      cwd: '/srv/website',
      ...fields,
    });

  it('are made in an environment, on any machine where nothing runs on this one', async () => {
    const { status, body } = await create({ mode: 'exclusive' });
    expect(status).toBe(201);
    expect(body).toEqual({
      id: expect.any(String),
      companyId,
      environmentId: local.id,
      name: 'website',
      mode: 'exclusive',
      cwd: '/srv/website',
      host: null,
      status: 'active',
      metadata: {},
      createdAt: expect.any(String),
      updatedAt: expect.any(String),
    });
    expect((await operator.get(`/execution-workspaces/${body.id}`)).body).toEqual(body);
    const { body: list } = await operator.get<Workspace[]>(`/companies/${companyId}/execution-workspaces`);
    expect(list).toEqual([body]);
    expect(await create({})).toMatchObject({ status: 409, body: { code: 'workspace_name_taken' } });
  });

  it('are on one machine where that is said', async () => {
    const { body } = await create({ name: 'at home', host: 'box-7' });
    expect(body).toMatchObject({ host: 'box-7' });
    const moved = await operator.patch(`/execution-workspaces/${body.id}`, { host: null });
    expect(moved.body).toMatchObject({ host: null });
  });

  it('have no machine of their own elsewhere', async () => {
    const environmentId = await harness.other(companyId, 'Elsewhere');
    expect((await create({ name: 'there', environmentId })).body).toMatchObject({ host: null, mode: 'shared' });
  });

  it('are not made in an environment of another company, or in an archived one', async () => {
    const [foreign] = (await operator.get<[Environment]>(`/companies/${await harness.company()}/environments`)).body;
    const environmentId = await harness.other(companyId, 'Old');
    await operator.post(`/environments/${environmentId}/archive`);
    expect(await create({ name: 'a', environmentId: foreign.id })).toMatchObject({
      status: 422,
      body: { code: 'environment_not_found' },
    });
    expect(await create({ name: 'a', environmentId })).toMatchObject({
      status: 422,
      body: { code: 'environment_archived' },
    });
  });

  it('are changed, archived and brought back, save for their mode', async () => {
    const { body } = await create({ name: 'changing' });
    const update = (changes: object) => operator.patch<Workspace>(`/execution-workspaces/${body.id}`, changes);
    const before = (await harness.actions(companyId)).length;
    expect((await update({ cwd: '/other', metadata: { a: 1 } })).body).toMatchObject({
      cwd: '/other',
      metadata: { a: 1 },
    });
    expect((await update({ status: 'archived' })).body.status).toBe('archived');
    expect((await update({ status: 'archived' })).body.status).toBe('archived');
    expect((await update({ status: 'active' })).body.status).toBe('active');
    for (const cwd of ['relative', '/srv/../etc', '/srv/./x', 'C:\\..\\x', 7]) {
      expect(await update({ cwd })).toMatchObject({ status: 400, body: { details: [{ field: 'cwd' }] } });
    }
    expect((await update({ mode: 'exclusive' })).status).toBe(400);
    expect((await harness.actions(companyId)).slice(before).map(({ action, details }) => [action, details])).toEqual([
      ['workspace.updated', { fields: ['cwd', 'metadata'] }],
      ['workspace.archived', {}],
      ['workspace.updated', { fields: ['status'] }],
    ]);
    expect((await operator.get(`/execution-workspaces/${body.id}`)).body).toMatchObject({ status: 'active' });
  });

  it("are an operator's to change, and do not exist for strangers", async () => {
    const { body } = await create({ name: 'guarded' });
    const agent = operator.as(await harness.agentToken(companyId));
    const stranger = operator.as(await harness.agentToken(await harness.company()));
    expect((await agent.get(`/execution-workspaces/${body.id}`)).status).toBe(200);
    expect((await agent.patch(`/execution-workspaces/${body.id}`, { name: 'x' })).status).toBe(403);
    expect((await stranger.get(`/execution-workspaces/${body.id}`)).status).toBe(404);
    expect((await stranger.patch(`/execution-workspaces/${body.id}`, { name: 'x' })).status).toBe(404);
    expect((await stranger.get(`/companies/${companyId}/execution-workspaces`)).status).toBe(404);
  });
});
