import { loadConfig } from '../../src/config/load-config.js';
import { StartupError } from '../../src/config/startup-error.js';
import { ApiClient } from '../support/api-client.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

const GIVEN = 'Zx8-what+an/operator=made~up_itself!';

describe('the first key of an authenticated server', () => {
  let database: TestDatabase;
  let running: TestApp[];
  let shown: string[];

  beforeEach(async () => {
    database = await createTestDatabase();
    running = [];
    shown = [];
  });
  afterEach(async () => {
    await Promise.all(running.map((app) => app.close()));
    await database.close();
  });

  const start = async (bootstrapKey: string | null = null, changes: object = {}): Promise<TestApp> => {
    const config = { auth: 'authenticated' as const, bootstrapKey, ...changes };
    const app = await startStillApp({ database, config, showFirstKey: (token) => shown.push(token) });
    running.push(app);
    return app;
  };
  const keys = () => database.query<{ id: string; given: boolean }>('select id, given from operator_keys');
  const me = (app: TestApp, token: string) => new ApiClient(app.url).as(token).get('/cli-auth/me');

  it('is made and shown once, and does everything', async () => {
    const app = await start();
    expect(shown).toHaveLength(1);
    expect(await me(app, shown[0])).toMatchObject({ status: 200, body: { isInstanceAdmin: true } });
    await start();
    expect(shown).toHaveLength(1);
    expect(await keys()).toHaveLength(1);
  });

  it('is one, however many servers start at the same moment', async () => {
    const apps = await Promise.all([1, 2, 3, 4].map(() => start()));
    expect(shown).toHaveLength(1);
    expect(await keys()).toHaveLength(1);
    for (const app of apps) expect((await me(app, shown[0])).status).toBe(200);
  });

  it('is the one that is given, of several servers that are given different ones the first', async () => {
    const given = [GIVEN, `${GIVEN}2`, `${GIVEN}3`];
    const apps = await Promise.all(given.map((key) => start(key)));
    expect(shown).toEqual([]);
    expect(await keys()).toMatchObject([{ given: true }]);
    const answers = await Promise.all(given.map((key) => me(apps[0], key)));
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 401, 401]);
  });

  it('is kept as a hash when it is given', async () => {
    await start(GIVEN);
    const everything = await database.query('select to_jsonb(k) as row from operator_keys k');
    expect(JSON.stringify(everything)).not.toContain(GIVEN);
  });

  it('is not taken while there is a key that can do everything', async () => {
    const app = await start(GIVEN);
    const again = await start(`${GIVEN}2`);
    expect((await me(again, `${GIVEN}2`)).status).toBe(401);
    expect((await me(app, GIVEN)).status).toBe(200);
  });

  it.each([
    ['revoked', `revoked_at = now(), revoked_by = 'u'`],
    ['expired', `expires_at = now() - interval '1 s'`],
    ['read-only', 'read_only = true'],
    ['for named companies', `company_ids = array[gen_random_uuid()]`],
  ])('is made again when all that there are are %s', async (_what, change) => {
    await start();
    await database.query(`update operator_keys set ${change}`);
    const app = await start();
    expect(shown).toHaveLength(2);
    expect((await me(app, shown[1])).status).toBe(200);
  });

  it('is never one that was revoked', async () => {
    const app = await start(GIVEN);
    const [{ id }] = await keys();
    expect((await new ApiClient(app.url).as(GIVEN).delete(`/board-api-keys/${id}`)).status).toBe(204);
    expect((await me(app, GIVEN)).status).toBe(401);
    await expect(start(GIVEN)).rejects.toThrow(StartupError);
    expect((await me(await start(`${GIVEN}2`), `${GIVEN}2`)).status).toBe(200);
  });

  it('is no matter of a local trusted server, or of one that serves no API', async () => {
    await start(null, { auth: 'local_trusted' });
    await start(null, { roles: new Set() });
    expect([shown, await keys()]).toEqual([[], []]);
  });

  it('is a key that the settings let through', () => {
    const settings = { BERTH_AUTH: 'authenticated', BERTH_BOOTSTRAP_KEY: GIVEN };
    expect(loadConfig(settings, '/srv/berth').bootstrapKey).toBe(GIVEN);
  });
});
