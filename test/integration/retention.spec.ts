import { loadData, type DataNames } from '../../bench/data-at-size.ts';
import { formatCursor } from '../../src/activity/stream-cursor.js';
import { StreamReader } from '../../src/activity/stream-reader.js';
import { verifyRecord } from '../../src/activity/verify/verify-record.js';
import { RetentionSweeper } from '../../src/retention/retention-sweeper.js';
import { SweepLock } from '../../src/retention/sweep-lock.js';
import { ApiClient } from '../support/api-client.js';
import { GROWING } from '../support/growth-plans.js';
import { History } from '../support/retained-history.js';
import { scrape } from '../support/scraped.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

const DAY_MS = 24 * 60 * 60 * 1000;
/** A hundred days of history. */
const SIZE = { runs: 2400, live: 40, waiting: 60 };
const STEP_MS = 60 * 60 * 1000;

const DEFAULTS = { activityDays: 45, runDays: 60, runLogDays: 20 };
/** Of the companies, in the order of their ids, those that have it otherwise. */
const OWN = [
  {},
  { runDays: 0 },
  { activityDays: 0, runLogDays: 0 },
  { runDays: 10, activityDays: 90 },
  { runLogDays: 80, runDays: 30 },
  { runDays: 0, activityDays: 0, runLogDays: 0 },
];

/** Tables with as many rows as there is at work: of what is set up by hand, of who runs or waits now, of the instance. */
const GROW_NOT = [
  ...['companies', 'agents', 'environments', 'execution_workspaces', 'secrets', 'secret_references'],
  ...['agent_api_keys', 'operator_keys', 'runners', 'lease_requests', 'retention_horizons', 'retention_passes'],
  ...['instance', 'secrets_key', 'mikro_orm_migrations'],
];

describe(RetentionSweeper.name, () => {
  let database: TestDatabase;
  let app: TestApp;
  let api: ApiClient;
  let names: DataNames;
  let companies: string[];
  let history: History;
  /** Cursors of pages in what goes. */
  const cursors = new Map<string, string>();

  beforeAll(async () => {
    database = await createTestDatabase();
    app = await startStillApp({ database, config: { retention: DEFAULTS } });
    names = await loadData(database.url, SIZE, { checked: false, stepMs: STEP_MS });
    api = new ApiClient(app.url);
    companies = (await database.query<{ id: string }>('select id from companies order by id')).map(({ id }) => id);
    for (const [at, retention] of OWN.entries()) await api.patch(`/companies/${companies[at]}`, { retention });
    history = await History.of(database, DEFAULTS, { retries: 60 });
    for (const list of LISTS) cursors.set(list, await cursorIntoThePast(list));
  }, 60_000);
  afterAll(async () => {
    await app.close();
    await database.close();
  });

  const LISTS = ['heartbeat-runs', 'environment-leases', 'activity'];
  const path = (list: string, query: string) => `/companies/${names.companyId}/${list}?${query}`;
  const cursorIntoThePast = async (list: string) => {
    const id = `${Math.floor(Date.now() - 95 * DAY_MS)
      .toString(16)
      .padStart(12, '0')
      .replace(/^(.{8})/, '$1-')}-7000-8000-000000000000`;
    const key = list === 'activity' ? `${new Date(Date.now() - 95 * DAY_MS).toISOString()}~1000500` : id;
    const cursor = Buffer.from(key).toString('base64url');
    const { body } = await api.get<unknown[]>(path(list, `cursor=${cursor}&limit=5`));
    expect(body).not.toEqual([]);
    return cursor;
  };
  const sweep = () => app.get(RetentionSweeper).sweep();
  const told = () =>
    database.query<{ company_id: string; actor_type: string; actor_id: string; details: { removed: object } }>(
      `select company_id, actor_type, actor_id, details from activity_log where action = 'retention.removed'`,
    );
  const oldReader = async () => {
    const { epoch } = await app.get(StreamReader).cursorAt('now', names.companyId);
    return { epoch, seen: '5:5:', page: null };
  };
  const asOf = (days: number, companyId = names.companyId) =>
    api.get<{ code?: string; details?: { completeSince: string } }>(
      `/companies/${companyId}/environment-leases?asOf=${new Date(Date.now() - days * DAY_MS).toISOString()}&limit=1`,
    );
  const storage = async () => {
    const { body } = await api.get<{ kinds: ({ kind: string } & Record<string, unknown>)[] }>('/admin/storage');
    return new Map(body.kinds.map((kind) => [kind.kind, kind]));
  };

  it('names every table that grows', async () => {
    const tables = await database.query<{ name: string }>(
      `select relname as name from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace`,
    );
    const named = [...(await storage()).values()].map(({ table }) => table as string);
    expect([...named, ...GROW_NOT].toSorted()).toEqual(tables.map(({ name }) => name).toSorted());
    expect(named).toEqual(expect.arrayContaining(GROWING));
  });

  it('says what is due before it goes', async () => {
    const kinds = await storage();
    expect(kinds.get('runs')).toMatchObject({
      table: 'heartbeat_runs',
      setting: 'runDays',
      days: 60,
      exceptions: 4,
      due: { more: false },
      lastPass: null,
    });
    expect(kinds.get('activity')).toMatchObject({ due: { rows: 1000, more: true } });
    expect(kinds.get('places')).toMatchObject({ due: null, setting: 'runDays' });
    expect(kinds.get('comments')).toMatchObject({ setting: null, days: null, due: null });
    expect(kinds.get('idempotencyKeys')).toMatchObject({ setting: null, days: 1 });
    const { oldest, due } = kinds.get('runs') as unknown as { oldest: string; due: { rows: number; oldest: string } };
    expect(Date.now() - Date.parse(oldest)).toBeGreaterThan(99 * DAY_MS);
    expect(Date.now() - Date.parse(due.oldest)).toBeGreaterThan(98 * DAY_MS);
    expect(due.rows).toBeGreaterThan(100);
    expect((await asOf(70)).status).toBe(200);
    await app.get(StreamReader).verifyComplete(names.companyId, await oldReader());
  });

  it('does nothing in quarantine, and nothing while another process is at it', async () => {
    await database.query(`update instance set quarantined_at = now(), quarantine_reason = 'a test'`);
    await sweep();
    await database.query('update instance set quarantined_at = null, quarantine_reason = null');
    const lock = await SweepLock.take(database.url);
    await sweep();
    await lock!.release();
    expect(await told()).toEqual([]);
  });

  it('removes everything that is due of every company, and nothing else', async () => {
    const expected = history.remaining();
    expect(expected.runs.length).toBeLessThan(history.size.runs - 300);
    await Promise.all([sweep(), sweep()]);
    await sweep();
    expect(await history.present()).toEqual(expected);
  }, 60_000);

  it('leaves a record that agrees with the state, and tells what went', async () => {
    expect((await verifyRecord(database.url, 60)).filter(({ found }) => found > 0)).toEqual([]);
    const ofNothing = await database.query(
      `select entity_id from activity_folds where entity_type = 'heartbeat_run'
       and entity_id not in (select id::text from heartbeat_runs)`,
    );
    expect(ofNothing).toEqual([]);
    const entries = await told();
    expect(new Set(entries.map(({ actor_type, actor_id }) => `${actor_type}/${actor_id}`))).toEqual(
      new Set(['system/retention']),
    );
    expect(entries.some(({ company_id }) => company_id === companies[5])).toBe(false);
    const sums: Record<string, number> = {};
    for (const { details } of entries) {
      for (const [kind, rows] of Object.entries(details.removed)) sums[kind] = (sums[kind] ?? 0) + (rows as number);
    }
    expect(sums).toEqual(history.removed());
    const counted = await scrape(app.url);
    for (const [kind, rows] of Object.entries(sums)) {
      expect(counted.get(`berth_retention_removed_rows_total{kind="${kind}"}`)).toBe(rows);
    }
    expect(counted.get('berth_retention_oldest_due_age_seconds{kind="runs"}')).toBe(0);
  });

  it('says how much there is of what stays', async () => {
    await database.query('vacuum analyze issues, secret_versions, activity_folds');
    const kinds = await storage();
    const stays = { bytes: expect.any(Number) as number, setting: null, days: null, exceptions: 0, due: null };
    const counted = async (table: string, time = 'created_at') => {
      const [row] = await database.query<{ rows: string; oldest: Date }>(
        `select count(*) as rows, min(${time}) as oldest from ${table}`,
      );
      expect(Number(row.rows)).toBeGreaterThan(0);
      return { ...stays, table, estimatedRows: Number(row.rows), oldest: row.oldest.toISOString(), lastPass: null };
    };
    expect(kinds.get('issues')).toEqual({ kind: 'issues', ...(await counted('issues')) });
    expect(kinds.get('secretVersions')).toEqual({ kind: 'secretVersions', ...(await counted('secret_versions')) });
    const folds = { ...(await counted('activity_folds', 'at')), oldest: null };
    expect(kinds.get('activityFolds')).toEqual({ kind: 'activityFolds', ...folds });
  });

  it('has nothing left to do, and does not look again before the next day', async () => {
    const before = await told();
    await database.query('update retention_horizons set swept_to = null');
    expect((await storage()).get('activity')).toMatchObject({ due: { rows: 0, more: false, oldest: null } });
    await sweep();
    expect(await told()).toEqual(before);
    const [{ count }] = await database.query<{ count: string }>(
      'select count(*) from retention_horizons where swept_to is null',
    );
    expect(count).toBe('0');
    expect((await storage()).get('runs')).toMatchObject({ lastPass: { removed: 0, error: null } });
  });

  it('has lists go on where their page has gone', async () => {
    for (const list of LISTS) {
      const { status, body } = await api.get<unknown[]>(path(list, `cursor=${cursors.get(list)}&limit=5`));
      expect({ list, status, isList: Array.isArray(body) }).toEqual({ list, status: 200, isList: true });
    }
    expect((await api.get(path('activity', `cursor=${cursors.get('activity')}`))).body).toEqual([]);
  });

  it('has what was held before the horizon refused, and what was held since answered', async () => {
    const { status, body } = await asOf(70);
    expect({ status, code: body.code }).toEqual({ status: 410, code: 'history_removed' });
    const since = body.details!.completeSince;
    expect(since).toBe(history.cutoff(60).toISOString());
    expect((await asOf((Date.now() - Date.parse(since)) / DAY_MS)).status).toBe(200);
    expect((await asOf(70, companies[1])).status).toBe(200);
    const ofEnvironment = `/environments/${names.environmentId}/leases?asOf=${names.middle}`;
    expect((await api.get(ofEnvironment)).status).toBe(200);
    const { body: retention } = await api.get(`/companies/${names.companyId}/retention`);
    expect(retention).toEqual({
      activity: { days: 45, own: false, completeSince: history.cutoff(45).toISOString() },
      runs: { days: 60, own: false, completeSince: since },
      runLogs: { days: 20, own: false, completeSince: history.cutoff(20).toISOString() },
    });
    expect((await api.get(`/companies/${companies[5]}/retention`)).body).toMatchObject({
      runs: { days: null, own: true, completeSince: null },
    });
  });

  it('has a run that went answered like one that never was', async () => {
    const gone = history.goneRun();
    const answer = await api.get(`/heartbeat-runs/${gone}`);
    expect(answer).toMatchObject({ status: 404, body: { code: 'not_found' } });
    expect((await api.get(`/heartbeat-runs/${gone}/log`)).status).toBe(404);
  });

  it('has a stream refused that would have a hole', async () => {
    const reader = app.get(StreamReader);
    const old = await oldReader();
    const answer = await fetch(`${app.url}/api/companies/${names.companyId}/activity/stream`, {
      headers: { 'last-event-id': formatCursor(old) },
    });
    expect({ status: answer.status, body: await answer.json() }).toMatchObject({
      status: 410,
      body: { code: 'entries_removed' },
    });
    await reader.verifyComplete(companies[5], old);
    await reader.verifyComplete(names.companyId, await reader.cursorAt('now', names.companyId));
    const start = await reader.cursorAt('start', names.companyId);
    await reader.verifyComplete(names.companyId, start);
    const { cursor } = await reader.read(names.companyId, start);
    expect(cursor.page).not.toBeNull();
    await reader.verifyComplete(names.companyId, cursor);
    const halfWay = { ...cursor, page: { ...cursor.page!, tx: '5' } };
    await expect(reader.verifyComplete(names.companyId, halfWay)).rejects.toMatchObject({ code: 'entries_removed' });
  });

  it('is for operators to see, and for a company to see of itself', async () => {
    const { body: key } = await api.post<{ token: string }>(`/agents/${names.agentId}/keys`, { name: 'mine' });
    const agent = api.as(key.token);
    expect((await agent.get('/admin/storage')).status).toBe(403);
    expect((await agent.get(`/companies/${names.companyId}/retention`)).status).toBe(200);
    expect((await agent.get(`/companies/${companies[5]}/retention`)).status).toBe(404);
  });
});
