import { ApiClient } from '../support/api-client.js';
import { Scenario } from '../support/scenario.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

describe('the roles of processes', () => {
  let api: TestApp;
  let runner: TestApp;

  beforeAll(async () => {
    api = await startTestApp({ config: { roles: new Set(['api']) } });
    const publicUrl = api.url;
    runner = await startTestApp({ database: api.database, config: { roles: new Set(['runner']), publicUrl } });
  });
  afterAll(async () => {
    await runner.close();
    await api.close();
  });

  it('executes a run of one process in another, which tells the agent where the API is', async () => {
    const user = new Scenario(api.url);
    const agentId = await user.agent(await user.company(), 'echo $PAPERCLIP_API_URL');
    const { id } = await user.wake(agentId);
    expect(await user.ended(id)).toMatchObject({ status: 'succeeded' });
    expect(await user.log(id)).toBe(`${api.url}\n`);
  });

  it('cancels a run that is executed by another process', async () => {
    const user = new Scenario(api.url);
    const { id } = await user.wake(await user.agent(await user.company(), 'sleep 60'));
    await user.reached(id, ['running']);
    await user.api.post(`/heartbeat-runs/${id}/cancel`);
    expect(await user.ended(id)).toMatchObject({ status: 'cancelled' });
  });

  it('answers nothing but its health where it only executes', async () => {
    const client = new ApiClient(runner.url);
    expect(await client.get('/companies')).toMatchObject({ status: 404, body: { code: 'not_served_here' } });
    expect(await client.get('/health')).toMatchObject({ status: 200, body: { status: 'ok' } });
  });
});
