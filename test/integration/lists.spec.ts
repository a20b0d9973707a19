import { loadData, type DataNames } from '../../bench/data-at-size.ts';
import { EntityRows } from '../../src/database/entity-rows.js';
import { Client } from 'pg';
import { ApiClient } from '../support/api-client.js';
import { CapturedStatements } from '../support/captured-statements.js';
import { startTestApp, type TestApp } from '../support/test-app.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

type Thing = Record<string, unknown> & { id: string };

describe(EntityRows.name, () => {
  let database: TestDatabase;
  let names: DataNames;
  let app: TestApp;
  let api: ApiClient;

  beforeAll(async () => {
    database = await createTestDatabase();
    names = await loadData(database.url, { runs: 400, live: 25, waiting: 20 }, { checked: true });
    app = await startTestApp({ database, config: { roles: new Set(['api']) } });
    api = new ApiClient(app.url);
  });
  afterAll(async () => {
    await app.close();
    await database.close();
  });

  const listOf = async (path: string): Promise<Thing[]> => {
    const { body } = await api.get<Thing[]>(path);
    expect(body.length).toBeGreaterThan(0);
    return body;
  };

  /** Lists read rows; what is asked for by itself is an entity. */
  it.each([
    ['companies', 'companies'],
    ['companies/:company/agents', 'agents'],
    ['companies/:company/environments', 'environments'],
    ['companies/:company/execution-workspaces', 'execution-workspaces'],
    ['companies/:company/issues', 'issues'],
    ['companies/:company/heartbeat-runs?full=true', 'heartbeat-runs'],
    ['companies/:company/heartbeat-runs?status=running&full=true', 'heartbeat-runs'],
    ['companies/:company/environment-leases', 'environment-leases'],
    ['companies/:company/environment-leases?status=retained', 'environment-leases'],
    ['companies/:company/environment-places', 'environment-places'],
  ])('a row of %s says what %s/:id says', async (list, single) => {
    const rows = await listOf(`/${list.replace(':company', names.companyId)}`);
    for (const row of [rows[0], rows[rows.length - 1]]) {
      expect((await api.get(`/${single}/${row.id}`)).body).toEqual(row);
    }
  });

  it('leaves out of a run what is large, and nothing else', async () => {
    const [row] = await listOf(`/companies/${names.companyId}/heartbeat-runs?limit=1`);
    const { body } = await api.get<Thing>(`/heartbeat-runs/${row.id}`);
    const { contextSnapshot, resultJson, stdoutExcerpt, stderrExcerpt, ...rest } = body;
    expect([contextSnapshot, resultJson, stdoutExcerpt, stderrExcerpt]).not.toContain(undefined);
    expect(row).toEqual(rest);
  });

  it('goes on after its last row, in each order', async () => {
    const { companyId } = names;
    const all = await listOf(`/companies/${companyId}/heartbeat-runs?limit=7`);
    const first = await api.get<Thing[]>(`/companies/${companyId}/heartbeat-runs?limit=4`);
    const next = /<\/api([^>]+)>; rel="next"/.exec(first.headers.get('link') ?? '')?.[1] ?? '';
    const second = await api.get<Thing[]>(next);
    expect([...first.body, ...second.body].slice(0, 7)).toEqual(all);
    const comments = `/issues/${names.issueId}/comments`;
    for (const body of ['one', 'two', 'three']) await api.post(comments, { body });
    const oldestFirst = await listOf(`${comments}?order=asc`);
    const said = await listOf(`${comments}?order=asc&limit=2`);
    const after = await listOf(`${comments}?order=asc&afterCommentId=${said[1].id}`);
    expect([...said, ...after]).toEqual(oldestFirst);
    expect(await listOf(comments)).toEqual(oldestFirst.toReversed());
  });

  /** One that has been idle for a year has its newest row far behind everybody else's. */
  it.each([
    'agents',
    'environments',
    'execution-workspaces',
    'issues',
    'heartbeat-runs',
    'live-runs?minCount=200',
    'environment-leases',
    'environment-places',
  ])('finds a company’s %s by the company, however dear it is to jump', async (list) => {
    const captured = new CapturedStatements();
    await api.get(`/companies/${names.companyId}/${list}`).finally(() => captured.stop());
    const listing = captured.all.filter(({ text }) => text.includes('order by company_id desc'));
    expect(listing).toHaveLength(1);
    const client = new Client(database.url);
    await client.connect();
    await client.query('set random_page_cost = 1000; set plan_cache_mode = force_generic_plan; set enable_sort = off');
    await client.query(`prepare listing as ${listing[0].text}`);
    const values = listing[0].values.map((value) => client.escapeLiteral(String(value))).join(', ');
    const { rows } = await client.query<{ 'QUERY PLAN': string }>(`explain (costs off) execute listing(${values})`);
    await client.end();
    expect(rows.map((row) => row['QUERY PLAN']).join('\n')).toMatch(/Index Cond: .*company_id = ANY/);
  });
});
