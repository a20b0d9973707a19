import { prefixBase } from '../../src/companies/issue-prefix.js';
import { newId } from '../../src/database/id.js';
import { ApiClient, type Refusal } from '../support/api-client.js';
import { holdTransaction } from '../support/held-transaction.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

interface Company {
  id: string;
  name: string;
  status: string;
  issuePrefix: string;
  defaultEnvironmentId: string | null;
  maxConcurrentRuns: number | null;
  maxWaitSec: number | null;
  archivedAt: string | null;
  updatedAt: string;
}

describe('companies', () => {
  let app: TestApp;
  let operator: ApiClient;

  beforeAll(async () => {
    app = await startTestApp();
    operator = new ApiClient(app.url);
  });
  afterAll(() => app.close());

  const create = async (body: object) => (await operator.post<Company>('/companies', body)).body;
  const actions = async (companyId: string) => {
    const sql = 'select action from activity_log where company_id = $1 order by seq';
    return (await app.database.query<{ action: string }>(sql, [companyId])).map(({ action }) => action);
  };
  const makeEnvironment = async (companyId: string, status = 'active') => {
    const id = newId();
    await app.database.query(
      `insert into environments (id, company_id, name, driver, status) values ($1, $2, $3, 'test', $4)`,
      [id, companyId, `env ${id}`, status],
    );
    return id;
  };

  describe('create', () => {
    it('answers the whole company, and records that it was made', async () => {
      const { status, body } = await operator.post<Company>('/companies', { name: 'Harbour Works' });
      expect(status).toBe(201);
      expect(body).toEqual({
        id: expect.any(String) as string,
        name: 'Harbour Works',
        description: null,
        status: 'active',
        issuePrefix: 'HAR',
        defaultEnvironmentId: null,
        maxConcurrentRuns: null,
        maxWaitSec: null,
        maxAgents: 10_000,
        maxEnvironments: 1000,
        maxQueuedRuns: 10_000,
        retention: {},
        archivedAt: null,
        createdAt: expect.stringMatching(/^\d{4}-.*Z$/) as string,
        updatedAt: expect.any(String) as string,
      });
      expect((await operator.get<Company>(`/companies/${body.id}`)).body).toEqual(body);
      expect(await actions(body.id)).toEqual(['company.created']);
    });

    it('gives companies of one name prefixes of their own, also when they are made at once', async () => {
      const made = await Promise.all(Array.from({ length: 8 }, () => create({ name: 'Twin' })));
      const prefixes = made.map(({ issuePrefix }) => issuePrefix).sort();
      expect(prefixes).toEqual(['TWI', 'TWI2', 'TWI3', 'TWI4', 'TWI5', 'TWI6', 'TWI7', 'TWI8']);
    });

    it('takes the prefix that is asked for, and refuses one that is taken', async () => {
      expect((await create({ name: 'Explicit', issuePrefix: 'XPL' })).issuePrefix).toBe('XPL');
      const { status, body } = await operator.post<Refusal>('/companies', { name: 'Other', issuePrefix: 'XPL' });
      expect([status, body.code]).toEqual([409, 'issue_prefix_taken']);
    });

    it('accepts what Paperclip’s client sends, and refuses other unknown fields', async () => {
      const known = { name: 'Known', budgetMonthlyCents: 100, requireBoardApprovalForNewAgents: false };
      expect((await operator.post('/companies', known)).status).toBe(201);
      const { status, body } = await operator.post<Refusal>('/companies', { name: 'Odd', colour: 'red' });
      expect(status).toBe(400);
      expect(JSON.stringify(body.details)).toContain('colour');
    });

    it.each([
      ['no name', {}],
      ['an empty name', { name: '' }],
      ['a name that is null', { name: null }],
      ['a prefix in lower case', { name: 'Low', issuePrefix: 'low' }],
      ['a prefix that is null', { name: 'Null', issuePrefix: null }],
    ])('refuses %s', async (_name, body) => {
      expect((await operator.post('/companies', body)).status).toBe(400);
    });

    it('makes one company for one idempotency key', async () => {
      const client = operator.with({ 'idempotency-key': 'make-once' });
      const [first, second] = await Promise.all([
        client.post<Company>('/companies', { name: 'Once' }),
        client.post<Company>('/companies', { name: 'Once' }),
      ]);
      expect([first.status, second.status]).toEqual([201, 201]);
      expect(second.body.id).toBe(first.body.id);
    });
  });

  it('derives a prefix from the first letters of any name', () => {
    expect(prefixBase('Écluse & Fils')).toBe('ECL');
    expect(prefixBase('7 seas')).toBe('SEA');
    expect(prefixBase('港')).toBe('CO');
    expect(prefixBase('a')).toBe('A');
  });

  describe('list', () => {
    it('answers a bare array, newest first, in pages', async () => {
      const older = await create({ name: 'Older' });
      const newer = await create({ name: 'Newer' });
      const first = await operator.get<Company[]>('/companies?limit=1');
      expect(first.body.map(({ id }) => id)).toEqual([newer.id]);
      const next = /<\/api(.*)>; rel="next"/.exec(first.headers.get('link') ?? '')?.[1];
      const second = await operator.get<Company[]>(next ?? '');
      expect(second.body.map(({ id }) => id)).toEqual([older.id]);
    });

    it.each(['?limit=0', '?limit=201', '?cursor=bm90LWFuLWlk', '?colour=red'])('refuses %s', async (query) => {
      expect((await operator.get(`/companies${query}`)).status).toBe(400);
    });
  });

  describe('to an agent', () => {
    let own: Company;
    let other: Company;
    let agent: ApiClient;

    beforeAll(async () => {
      own = await create({ name: 'Own' });
      other = await create({ name: 'Other' });
      const { id } = (await operator.post<{ id: string }>(`/companies/${own.id}/agents`, { name: 'mate' })).body;
      agent = operator.as((await operator.post<{ token: string }>(`/agents/${id}/keys`, { name: 'k' })).body.token);
    });

    it('shows its own only', async () => {
      expect((await agent.get<Company[]>('/companies')).body.map(({ id }) => id)).toEqual([own.id]);
      expect((await agent.get(`/companies/${own.id}`)).status).toBe(200);
    });

    it('answers another one like one that does not exist', async () => {
      const foreign = await agent.get<Refusal>(`/companies/${other.id}`);
      const unknown = await agent.get<Refusal>(`/companies/${newId()}`);
      expect(foreign.status).toBe(404);
      expect(foreign.body).toEqual(unknown.body);
      expect((await agent.patch(`/companies/${other.id}`, { name: 'Mine' })).status).toBe(404);
    });

    it('lets it change nothing', async () => {
      expect((await agent.patch(`/companies/${own.id}`, { name: 'Mine' })).status).toBe(403);
      expect((await agent.post(`/companies/${own.id}/archive`)).status).toBe(403);
    });
  });

  describe('update', () => {
    it('changes what is given, leaves the rest, and records the names of what changed', async () => {
      const { id } = await create({ name: 'Before', description: 'kept' });
      const { status, body } = await operator.patch<Company>(`/companies/${id}`, {
        name: 'After',
        maxConcurrentRuns: 1,
      });
      expect(status).toBe(200);
      expect(body).toMatchObject({ name: 'After', description: 'kept', maxConcurrentRuns: 1 });
      expect((await operator.get<Company>(`/companies/${id}`)).body).toEqual(body);
      expect(
        (await operator.patch<Company>(`/companies/${id}`, { maxConcurrentRuns: null })).body.maxConcurrentRuns,
      ).toBe(null);
      expect(await actions(id)).toEqual(['company.created', 'company.updated', 'company.updated']);
    });

    it('records nothing when nothing changes', async () => {
      const { id } = await create({ name: 'Same' });
      await operator.patch(`/companies/${id}`, { name: 'Same', retention: {} });
      expect(await actions(id)).toEqual(['company.created']);
    });

    it.each([{ maxConcurrentRuns: 0 }, { maxConcurrentRuns: 1.5 }, { maxWaitSec: 0 }, { name: null }, { status: 'x' }])(
      'refuses %j',
      async (body) => {
        const { id } = await create({ name: 'Strict' });
        expect((await operator.patch(`/companies/${id}`, body)).status).toBe(400);
      },
    );

    it('takes an environment of its own as the default, and gives it up again', async () => {
      const { id } = await create({ name: 'Placed' });
      const environmentId = await makeEnvironment(id);
      const { body } = await operator.patch<Company>(`/companies/${id}`, { defaultEnvironmentId: environmentId });
      expect(body.defaultEnvironmentId).toBe(environmentId);
      const without = await operator.patch<Company>(`/companies/${id}`, { defaultEnvironmentId: null });
      expect(without.body.defaultEnvironmentId).toBe(null);
    });

    it('refuses a default environment that is archived, unknown or another company’s', async () => {
      const { id } = await create({ name: 'Displaced' });
      const other = await create({ name: 'Elsewhere' });
      const cases = [
        [await makeEnvironment(id, 'archived'), 'environment_archived'],
        [newId(), 'environment_not_found'],
        [await makeEnvironment(other.id), 'environment_not_found'],
      ] as const;
      for (const [defaultEnvironmentId, code] of cases) {
        const { status, body } = await operator.patch<Refusal>(`/companies/${id}`, { defaultEnvironmentId });
        expect([status, body.code]).toEqual([422, code]);
      }
    });

    it('waits for an archive of the environment that is under way, and then refuses it', async () => {
      const { id } = await create({ name: 'Overtaken' });
      const environmentId = await makeEnvironment(id);
      const archive = `update environments set status = 'archived' where id = $1`;
      const held = await holdTransaction(app.database, archive, [environmentId]);
      const answer = operator.patch<Refusal>(`/companies/${id}`, { defaultEnvironmentId: environmentId });
      await held.blocksSomebody();
      await held.commit();
      expect((await answer).body.code).toBe('environment_archived');
    });
  });

  describe('archive', () => {
    it('is done once, however often it is asked for', async () => {
      const { id } = await create({ name: 'Closing' });
      const first = await operator.post<Company>(`/companies/${id}/archive`);
      const second = await operator.post<Company>(`/companies/${id}/archive`);
      expect(first.status).toBe(200);
      expect(first.body.status).toBe('archived');
      expect(second.body).toEqual(first.body);
      expect(await actions(id)).toEqual(['company.created', 'company.archived']);
    });

    it('is recorded once when it crosses another one', async () => {
      const { id } = await create({ name: 'Crossed' });
      const archive = `update companies set status = 'archived', archived_at = now() where id = $1`;
      const held = await holdTransaction(app.database, archive, [id]);
      const answer = operator.post<Company>(`/companies/${id}/archive`);
      await held.blocksSomebody();
      await held.commit();
      expect((await answer).body.status).toBe('archived');
      expect(await actions(id)).toEqual(['company.created']);
    });

    it('lets nothing new be made', async () => {
      const { id } = await create({ name: 'Closed' });
      await operator.post(`/companies/${id}/archive`);
      const agent = await operator.post<Refusal>(`/companies/${id}/agents`, { name: 'late' });
      const issue = await operator.post<Refusal>(`/companies/${id}/issues`, { title: 'late' });
      expect([agent.status, agent.body.code]).toEqual([409, 'company_archived']);
      expect([issue.status, issue.body.code]).toEqual([409, 'company_archived']);
    });
  });

  it('answers what is no id like an unknown id', async () => {
    expect((await operator.get('/companies/stats')).status).toBe(404);
  });
});
