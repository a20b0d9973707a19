import { HealthModule } from '../../src/health/health.module.js';
import { startProbeApp, type ProbeApp } from './http-probe.js';

describe('health', () => {
  let probe: ProbeApp;

  beforeAll(async () => {
    probe = await startProbeApp([HealthModule]);
  });
  afterAll(() => probe.close());

  const get = async (path: string) => {
    const answer = await fetch(`${probe.url}/api/${path}`);
    return {
      status: answer.status,
      retryAfter: answer.headers.get('retry-after'),
      body: (await answer.json()) as object,
    };
  };

  it('is ok while the database can be reached', async () => {
    const ok = {
      status: 200,
      body: { status: 'ok', version: expect.stringMatching(/^\d+\.\d+\.\d+/), database: 'reachable' },
    };
    expect(await get('health')).toMatchObject(ok);
    expect(await get('health/ready')).toMatchObject(ok);
    expect(await get('health/live')).toEqual({ status: 200, retryAfter: null, body: { status: 'ok' } });
  });

  it('says in a sentence that the database is gone, and stays alive', async () => {
    await probe.database.close();
    const start = Date.now();
    const gone = {
      status: 503,
      retryAfter: '1',
      body: { status: 'unhealthy', error: expect.any(String), database: 'unreachable' },
    };
    expect(await get('health')).toMatchObject(gone);
    expect(await get('health/ready')).toMatchObject(gone);
    expect(Date.now() - start).toBeLessThan(5_000);
    expect((await get('health/live')).status).toBe(200);
  });
});
