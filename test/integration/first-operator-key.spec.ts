import { EntityManager } from '@mikro-orm/postgresql';
import { FirstOperatorKey } from '../../src/auth/operator-keys/first-operator-key.js';
import { StartupError } from '../../src/config/startup-error.js';
import { ApiClient } from '../support/api-client.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

const GIVEN = 'Zx8-what+an/operator=made~up_itself!';

/** Several processes at once are tried by `test/e2e/authenticated.spec.ts`. */
describe(FirstOperatorKey.name, () => {
  let app: TestApp;
  let shown: string[] = [];

  beforeAll(async () => {
    const showFirstKey = (token: string) => void shown.push(token);
    app = await startStillApp({ config: { auth: 'authenticated' }, showFirstKey });
  });
  afterAll(() => app.close());

  /** What a server with these settings does at its start. */
  const start = (bootstrapKey: string | null = null, changes: object = {}): Promise<void> => {
    const config = app.config.with({ bootstrapKey, ...changes });
    const first = new FirstOperatorKey(app.get(EntityManager), config);
    return first.establish((token) => void shown.push(token));
  };
  const forget = async () => {
    await app.database.query('truncate operator_keys');
    shown = [];
  };
  const keys = () => app.database.query<{ id: string; given: boolean }>('select id, given from operator_keys');
  const me = (token: string) => new ApiClient(app.url).as(token).get('/cli-auth/me');

  it('is made and shown at the first start, does everything, and is the only one', async () => {
    expect(shown).toHaveLength(1);
    expect(await me(shown[0])).toMatchObject({ status: 200, body: { isInstanceAdmin: true } });
    await start();
    expect(shown).toHaveLength(1);
    expect(await keys()).toHaveLength(1);
  });

  it('is one, however many servers start at the same moment', async () => {
    await forget();
    await Promise.all([1, 2, 3, 4, 5, 6].map(() => start()));
    expect(shown).toHaveLength(1);
    expect(await keys()).toHaveLength(1);
    expect((await me(shown[0])).status).toBe(200);
  });

  it('is the one that is given, of several that are given at the same moment the first', async () => {
    await forget();
    const given = [GIVEN, `${GIVEN}2`, `${GIVEN}3`];
    await Promise.all(given.map((key) => start(key)));
    expect(shown).toEqual([]);
    expect(await keys()).toMatchObject([{ given: true }]);
    const answers = await Promise.all(given.map(me));
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 401, 401]);
  });

  it('is kept as a hash when it is given', async () => {
    await forget();
    await start(GIVEN);
    const everything = await app.database.query('select to_jsonb(k) as row from operator_keys k');
    expect(JSON.stringify(everything)).not.toContain(GIVEN);
  });

  it('is not taken while there is a key that can do everything', async () => {
    await forget();
    await start(GIVEN);
    await start(`${GIVEN}2`);
    expect((await me(`${GIVEN}2`)).status).toBe(401);
    expect((await me(GIVEN)).status).toBe(200);
  });

  it.each([
    ['revoked', `revoked_at = now(), revoked_by = 'u'`],
    ['expired', `expires_at = now() - interval '1 s'`],
    ['read-only', 'read_only = true'],
    ['for named companies', `company_ids = array[gen_random_uuid()]`],
  ])('is made again when all that there are are %s', async (_what, change) => {
    await forget();
    await start();
    await app.database.query(`update operator_keys set ${change}`);
    await start();
    expect(shown).toHaveLength(2);
    expect((await me(shown[1])).status).toBe(200);
  });

  it('is never one that was revoked', async () => {
    await forget();
    await start(GIVEN);
    const [{ id }] = await keys();
    expect((await new ApiClient(app.url).as(GIVEN).delete(`/board-api-keys/${id}`)).status).toBe(204);
    expect((await me(GIVEN)).status).toBe(401);
    await expect(start(GIVEN)).rejects.toThrow(StartupError);
    await start(`${GIVEN}2`);
    expect((await me(`${GIVEN}2`)).status).toBe(200);
  });

  it('is no matter of a local trusted server, or of one that serves no API', async () => {
    await forget();
    await start(null, { auth: 'local_trusted' });
    await start(null, { roles: new Set(['runner']) });
    expect([shown, await keys()]).toEqual([[], []]);
  });
});
