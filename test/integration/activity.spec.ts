import { randomUUID } from 'node:crypto';
import { SomethingHappened, startActivityApp, type ActivityApp, type Entry } from './activity-harness.js';

describe('the record of activity', () => {
  let api: ActivityApp;
  let company: string;

  beforeAll(async () => {
    api = await startActivityApp();
    company = await api.company();
  });
  afterAll(() => api.close());

  const list = async (query = '', tenant = company, token?: string) =>
    api.call<Entry[]>('GET', `companies/${tenant}/activity${query}`, undefined, token);
  const add = (body: unknown, token?: string, tenant = company) =>
    api.call<Entry & { code: string }>('POST', `companies/${tenant}/activity`, body, token);

  describe('recording', () => {
    it('has one entry per state change, with its true actor', async () => {
      const { id, token } = await api.agent(company);
      const added = await add({ action: 'custom.said' }, token);
      const actions = (await list()).body.map(({ action, actorType, actorId }) => ({ action, actorType, actorId }));
      expect(actions).toEqual(
        expect.arrayContaining([
          { action: 'company.created', actorType: 'user', actorId: 'local-operator' },
          { action: 'agent_key.created', actorType: 'user', actorId: 'local-operator' },
          { action: 'custom.said', actorType: 'agent', actorId: id },
        ]),
      );
      expect(added.body).toMatchObject({ agentId: id, entityType: 'company', entityId: company });
    });

    it('goes down with the transaction that it records', async () => {
      const thing = randomUUID();
      const unknown = new SomethingHappened(randomUUID(), thing);
      await expect(api.happen([new SomethingHappened(company, thing), unknown])).rejects.toThrow(/foreign key/);
      expect((await list(`?entityId=${thing}`)).body).toEqual([]);
      await api.happen([new SomethingHappened(company, thing)]);
      expect((await list(`?entityId=${thing}`)).body).toHaveLength(1);
    });

    it('redacts what is obviously secret, however deep', async () => {
      const thing = randomUUID();
      const details = {
        password: 'p',
        env: { API_KEY: 'k', HOME: '/' },
        list: [{ apiToken: 't' }],
        inputTokens: 5,
        fencingToken: '7',
        token: null,
      };
      await api.happen([new SomethingHappened(company, thing, details)]);
      expect((await list(`?entityId=${thing}`)).body[0]?.details).toEqual({
        password: '[redacted]',
        env: { API_KEY: '[redacted]', HOME: '/' },
        list: [{ apiToken: '[redacted]' }],
        inputTokens: 5,
        fencingToken: '7',
        token: null,
      });
    });
  });

  describe('list', () => {
    it('pages through everything, newest first, without loss or repeat', async () => {
      const tenant = await api.company();
      for (let at = 0; at < 7; at++) await api.happen([new SomethingHappened(tenant, String(at))]);
      const seen: string[] = [];
      let next: string | undefined = `/api/companies/${tenant}/activity?limit=3&entityType=thing`;
      while (next) {
        const answer: Response = await fetch(api.url + next);
        seen.push(...((await answer.json()) as Entry[]).map(({ entityId }) => entityId));
        next = /<(.*)>; rel="next"/.exec(answer.headers.get('link') ?? '')?.[1];
      }
      expect(seen).toEqual(['6', '5', '4', '3', '2', '1', '0']);
    });

    it('filters by each property, and by time', async () => {
      const tenant = await api.company();
      const { id: agentId } = await api.agent(tenant);
      await add({ action: 'custom.a', agentId, entityType: 'thing', entityId: 'x' }, undefined, tenant);
      await add({ action: 'custom.b' }, undefined, tenant);
      const actions = async (query: string) => (await list(query, tenant)).body.map(({ action }) => action);
      expect(await actions('?action=custom.b')).toEqual(['custom.b']);
      expect(await actions('?entityType=thing')).toEqual(['custom.a']);
      expect(await actions('?entityType=thing&entityId=y')).toEqual([]);
      expect(await actions(`?agentId=${agentId}&entityType=thing`)).toEqual(['custom.a']);
      expect(await actions(`?runId=${randomUUID()}`)).toEqual([]);
      const newest = (await list('?limit=1', tenant)).body[0]?.createdAt ?? '';
      expect(await actions(`?since=${newest}&action=custom.b`)).toEqual(['custom.b']);
      expect(await actions(`?until=${newest}&action=custom.b`)).toEqual([]);
    });

    it.each(['?since=yesterday', '?agentId=x', '?cursor=%21', '?limit=0', '?foo=1'])('refuses %s', async (query) => {
      expect((await list(query)).status).toBe(400);
    });

    it('answers 404 for an unknown company, and to an agent of another', async () => {
      const { token } = await api.agent(await api.company());
      expect((await list('', randomUUID())).status).toBe(404);
      expect((await list('', 'not-a-uuid')).status).toBe(404);
      expect((await list('', company, token)).status).toBe(404);
      expect((await add({ action: 'custom.x' }, token)).status).toBe(404);
    });
  });

  describe('list of rows that tell of a run and its lease', () => {
    let tenant: string;
    const [run, lease, environmentId] = [randomUUID(), randomUUID(), randomUUID()];
    const said = { environmentId, driver: 'local', leasePolicy: 'ephemeral', provider: 'local' };
    const nothing = { executionWorkspaceId: null, issueId: null };
    /** Newest first. */
    const entries = [
      ['environment.lease_released', 'environment_lease', lease, { ...said, ...nothing, status: 'released' }],
      ['heartbeat.succeeded', 'heartbeat_run', run, { leaseId: lease, issueId: null }],
      ['heartbeat.started', 'heartbeat_run', run, { leaseId: lease, issueId: null, host: 'h' }],
      ['environment.lease_acquired', 'environment_lease', lease, { ...said, ...nothing, status: 'active' }],
      ['heartbeat.invoked', 'heartbeat_run', run, { source: 'timer', reason: null, issueId: null }],
    ].map(([action, entityType, entityId, details]) => ({ action, entityType, entityId, details, runId: run }));

    beforeAll(async () => {
      tenant = await api.company();
      // At one time, as the entries of one transaction may be.
      await api.database.query(
        `insert into activity_rows (company_id, actor_type, actor_id, action, run_id, lease_id, environment_id, driver,
           lease_policy, host, details, created_at)
         values ($1, 'system', 's', 'heartbeat.invoked', $2, null, null, null, null, null, '{"source": "timer"}', now()),
           ($1, 'system', 's', 'heartbeat.started', $2, $3, $4, 'local', 'ephemeral', 'h', null, now()),
           ($1, 'system', 's', 'heartbeat.succeeded', $2, $3, $4, 'local', 'ephemeral', null, null, now())`,
        [tenant, run, lease, environmentId],
      );
    });

    /** What pages of one entry each say, one after the other. */
    async function paged(query: string): Promise<Entry[]> {
      const seen: Entry[] = [];
      let next: string | undefined = `/api/companies/${tenant}/activity?limit=1&${query}`;
      while (next) {
        const answer: Response = await fetch(api.url + next);
        seen.push(...((await answer.json()) as Entry[]));
        next = /<(.*)>; rel="next"/.exec(answer.headers.get('link') ?? '')?.[1];
      }
      return seen;
    }

    it.each(['runId=' + run, ''])(
      'has each entry by itself and in full, also where a page ends within a row: %s',
      async (query) => {
        const seen = (await paged(query)).slice(0, entries.length);
        expect(seen).toMatchObject(entries);
        expect(seen.map(({ details }) => details)).toEqual(entries.map(({ details }) => details));
        expect(new Set(seen.map(({ id }) => id)).size).toBe(entries.length);
        expect((await list(`?runId=${run}`, tenant)).body).toEqual(seen);
      },
    );

    it.each(entries.map(({ action }) => action))('finds %s by its action', async (action) => {
      expect((await list(`?action=${action as string}`, tenant)).body).toMatchObject(
        entries.filter((entry) => entry.action === action),
      );
    });

    it('finds what is about runs, and what is about leases', async () => {
      for (const type of ['heartbeat_run', 'environment_lease']) {
        const { body } = await list(`?entityType=${type}`, tenant);
        expect(body).toMatchObject(entries.filter(({ entityType }) => entityType === type));
      }
    });
  });

  describe('list of an issue', () => {
    it('finds an issue by id and by identifier, whatever the case', async () => {
      const issue = randomUUID();
      const { issue_prefix: prefix } = (
        await api.database.query<{ issue_prefix: string }>('select issue_prefix from companies where id = $1', [
          company,
        ])
      )[0] ?? { issue_prefix: '' };
      await api.database.query(
        `insert into issues (id, company_id, number, identifier, title) values ($1, $2, 1, $3, 'Title')`,
        [issue, company, `${prefix}-1`],
      );
      await add({ action: 'custom.touched', entityType: 'issue', entityId: issue });
      for (const reference of [issue, `${prefix}-1`, `${prefix.toLowerCase()}-1`]) {
        const { body } = await api.call<Entry[]>('GET', `issues/${reference}/activity`);
        expect(body.map(({ action }) => action)).toEqual(['custom.touched']);
      }
      expect((await api.call('GET', `issues/${randomUUID()}/activity`)).status).toBe(404);
      const { token } = await api.agent(await api.company());
      expect((await api.call('GET', `issues/${issue}/activity`, undefined, token)).status).toBe(404);
    });
  });

  describe('add', () => {
    it('takes actions under custom. only', async () => {
      for (const action of ['environment.lease_acquired', 'custom', 'custom.', 'xcustom.a', 'custom. a']) {
        expect(await add({ action })).toMatchObject({ status: 400, body: { code: 'invalid_input' } });
      }
    });

    it('takes the actor from the credential, whatever the body says', async () => {
      const { status, body } = await add({ action: 'custom.a', actorType: 'system', actorId: 'reaper' });
      expect(status).toBe(201);
      expect(body).toMatchObject({ actorType: 'user', actorId: 'local-operator' });
    });

    it('lets an agent speak for itself only', async () => {
      const ann = await api.agent(company);
      const bob = await api.agent(company);
      expect((await add({ action: 'custom.a', agentId: ann.id }, ann.token)).status).toBe(201);
      expect((await add({ action: 'custom.a', agentId: bob.id }, ann.token)).status).toBe(403);
    });

    it('refuses an agent or a run that the company does not have', async () => {
      const stranger = await api.agent(await api.company());
      expect((await add({ action: 'custom.a', agentId: stranger.id })).status).toBe(404);
      expect((await add({ action: 'custom.a', runId: randomUUID() })).status).toBe(404);
    });

    it('refuses half a subject, and details that are too large', async () => {
      expect((await add({ action: 'custom.a', entityType: 'thing' })).status).toBe(400);
      expect((await add({ action: 'custom.a', details: { text: 'x'.repeat(16 * 1024) } })).status).toBe(400);
      expect((await add({ action: 'custom.a', details: { text: 'x'.repeat(16_000) } })).status).toBe(201);
    });
  });

  it('lists every action in the description of the API', async () => {
    const { body } = await api.call<{
      components: { schemas: Record<string, { properties: Record<string, unknown> }> };
    }>('GET', 'openapi.json');
    const { action } = body.components.schemas.ActivityResponse?.properties ?? {};
    expect(action).toMatchObject({
      anyOf: [
        { enum: expect.arrayContaining(['company.created', 'agent.created', 'test.happened']) },
        { pattern: '^custom\\.' },
      ],
    });
  });
});
