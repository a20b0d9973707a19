import { ApiClient, type Refusal } from '../support/api-client.js';
import { Scenario } from '../support/scenario.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

describe("a company's retention", () => {
  let app: TestApp;
  let api: ApiClient;
  let path: string;

  beforeAll(async () => {
    app = await startStillApp();
    api = new ApiClient(app.url);
  });
  beforeEach(async () => void (path = `/companies/${await new Scenario(app.url).company()}`));
  afterAll(() => app.close());

  const set = (retention: unknown) => api.patch<{ retention: object } & Refusal>(path, { retention });
  const recorded = async () => {
    const { body } = await api.get<{ details: object }[]>(`${path}/activity?action=company.updated`);
    return body.map(({ details }) => details);
  };

  it('is as the instance has it, until it says otherwise', async () => {
    const { body } = await api.get(`${path}/retention`);
    expect(body).toEqual({
      activity: { days: 365, own: false, completeSince: null },
      runs: { days: 90, own: false, completeSince: null },
      runLogs: { days: 30, own: false, completeSince: null },
    });
  });

  it('is set as a whole, and the change recorded', async () => {
    expect(await set({ runDays: 7, runLogDays: 0 })).toMatchObject({
      status: 200,
      body: { retention: { runDays: 7, runLogDays: 0 } },
    });
    expect((await api.get(`${path}/retention`)).body).toMatchObject({
      activity: { days: 365, own: false },
      runs: { days: 7, own: true },
      runLogs: { days: null, own: true },
    });
    expect((await set({ activityDays: 36_500 })).body.retention).toEqual({ activityDays: 36_500 });
    expect((await api.get<{ retention: object }>(path)).body.retention).toEqual({ activityDays: 36_500 });
    expect(await recorded()).toEqual([{ fields: ['retention'] }, { fields: ['retention'] }]);
  });

  it('is not recorded where it stays as it is', async () => {
    await set({ runDays: 7 });
    await set({ runDays: 7 });
    expect(await recorded()).toHaveLength(1);
  });

  it.each([
    [{ runDays: -1 }, 'retention.runDays'],
    [{ runDays: 36_501 }, 'retention.runDays'],
    [{ activityDays: 1.5 }, 'retention.activityDays'],
    [{ runLogDays: '7' }, 'retention.runLogDays'],
    [{ runLogDays: null }, 'retention.runLogDays'],
    [{ leaseDays: 7 }, 'retention.leaseDays'],
    [[], 'retention'],
    [null, 'retention'],
    ['forever', 'retention'],
  ])('refuses %j', async (retention, field) => {
    const { status, body } = await set(retention);
    expect({ status, details: body.details }).toMatchObject({ status: 400, details: [{ field }] });
  });

  it('is not for agents to change', async () => {
    const user = new Scenario(app.url);
    const agentId = await user.agent(path.split('/')[2], 'true');
    const { body } = await api.post<{ token: string }>(`/agents/${agentId}/keys`, { name: 'mine' });
    expect((await api.as(body.token).patch(path, { retention: { runDays: 1 } })).status).toBe(403);
  });
});
