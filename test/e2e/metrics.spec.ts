import { jest } from '@jest/globals';
import { EntityManager } from '@mikro-orm/postgresql';
import { DATABASE_STATE } from '../../src/health/metrics/database-state.js';
import type { DatabaseProxy } from '../support/database-proxy.js';
import { eventually } from '../support/eventually.js';
import { holdTransaction } from '../support/held-transaction.js';
import { startProxiedApp, type ProxiedApp } from '../support/proxied-app.js';
import { Scenario } from '../support/scenario.js';
import { scrape, type Scraped } from '../support/scraped.js';
import { startTestApp, type TestApp } from '../support/test-app.js';
import { StreamClient } from '../integration/activity-stream-client.js';

describe('metrics', () => {
  let api: ProxiedApp;
  let runner: TestApp;
  let user: Scenario;
  let companyId: string;

  beforeAll(async () => {
    api = await startProxiedApp({ roles: new Set(['api']) });
    const { database, url: publicUrl } = api;
    runner = await startTestApp({ database, config: { roles: new Set(['runner']), runnerSlots: 2, publicUrl } });
    user = new Scenario(api.url);
  });
  beforeEach(async () => void (companyId = await user.company()));
  afterAll(async () => {
    await runner.close();
    await api.close();
  });

  /** The values of these series; what is not there is missing. */
  const pick = (scraped: Scraped, ...series: string[]) => series.map((name) => scraped.get(name));
  /** Waits until what the database knows, which is read once in a while, looks like this. */
  const shows = (expected: Record<string, number>, url = api.url) =>
    eventually(
      () => scrape(url),
      (seen) => Object.entries(expected).every(([name, value]) => seen.get(name) === value),
    );

  it('counts and times what a process does, in that process', async () => {
    const counted = [
      'berth_runs_started_total',
      'berth_leases_acquired_total',
      'berth_runs_ended_total{status="succeeded"}',
      'berth_runs_ended_total{status="failed"}',
      'berth_leases_ended_total{status="released"}',
      'berth_leases_ended_total{status="failed"}',
      'berth_run_wait_seconds_count',
      'berth_run_provision_seconds_count',
      'berth_run_finalise_seconds_count',
    ];
    const before = await scrape(runner.url);
    for (const script of ['true', 'exit 1']) {
      await user.ended((await user.wake(await user.agent(companyId, script))).id);
    }
    const added = (after: Scraped) => counted.map((name) => (after.get(name) ?? 0) - (before.get(name) ?? 0));
    await eventually(
      async () => added(await scrape(runner.url)),
      (values) => values.join() === '2,2,1,1,1,1,2,2,2',
    );
    const sums = pick(
      await scrape(runner.url),
      'berth_run_wait_seconds_sum',
      'berth_run_provision_seconds_sum',
      'berth_run_finalise_seconds_sum',
    );
    for (const sum of sums) expect(sum).toBeGreaterThan(0);
    expect((await scrape(api.url)).get('berth_runs_started_total')).toBe(0);
  });

  it('shows in every process what runs and what waits, by why and for how long', async () => {
    const agentId = await user.agent(companyId, 'sleep 60', { runtimeConfig: { heartbeat: { maxConcurrentRuns: 1 } } });
    const { id: running } = await user.wake(agentId, { payload: { taskKey: 'first' } });
    await user.reached(running, ['running']);
    const { id: waiting } = await user.wake(agentId, { payload: { taskKey: 'second' } });
    const live = {
      berth_database_up: 1,
      'berth_runs{status="running"}': 1,
      'berth_runs{status="queued"}': 1,
      'berth_runs{status="scheduled_retry"}': 0,
      'berth_leases{status="active"}': 1,
      berth_leases_overdue: 0,
      berth_lease_requests: 0,
      berth_places_parked: 0,
    };
    await shows(live);
    await shows(live, runner.url);

    const why = `update heartbeat_runs set due_at = now() - interval '1 hour', waiting_reason = $2 where id = $1`;
    await api.database.query(why, [waiting, { code: 'agent_full', message: 'It runs already', scope: null }]);
    // Whoever knows better may have said another reason since.
    const reasons = (seen: Scraped, of: string) =>
      [...seen].filter(([name, value]) => name.startsWith(`berth_queue_${of}{reason="`) && value > 0);
    const seen = await eventually(
      () => scrape(api.url),
      (now) => reasons(now, 'oldest_age_seconds').some(([, age]) => age > 3600 && age < 3700),
    );
    expect(reasons(seen, 'depth')).toEqual([[expect.stringMatching(/"\w+"\}$/), 1]]);
    await api.database.query(`update heartbeat_runs set status = 'cancelled', finished_at = now() where id = $1`, [
      waiting,
    ]);
    await user.api.post(`/heartbeat-runs/${running}/cancel`);
    await user.ended(running);
    const idle = await shows({ 'berth_runs{status="queued"}': 0, 'berth_leases{status="active"}': 0 });
    expect([...idle.keys()].filter((name) => name.startsWith('berth_queue'))).toEqual([]);
  });

  it('measures how long a lease that ran out was held', async () => {
    const { id } = await user.wake(await user.agent(companyId, 'sleep 60'));
    await user.reached(id, ['running']);
    const [lease] = await user.leases(id);
    const lags = async (what: string) => {
      const all = await Promise.all([api.url, runner.url].map(scrape));
      return all.reduce((sum, one) => sum + (one.get(`berth_lease_reap_lag_seconds_${what}`) ?? 0), 0);
    };
    const [count, sum] = [await lags('count'), await lags('sum')];
    await api.database.query(
      `update environment_leases set acquired_at = now() - interval '1 hour', expires_at = now() - interval '3 s'
       where id = $1`,
      [lease.id],
    );
    expect(await user.ended(id)).toMatchObject({ errorCode: 'process_lost' });
    await eventually(
      () => lags('count'),
      (now) => now === count + 1,
    );
    const lag = (await lags('sum')) - sum;
    expect(lag).toBeGreaterThan(3);
    expect(lag).toBeLessThan(3 + 2);
    const [retry] = await api.database.query<{ id: string }>(
      'select id from heartbeat_runs where retry_of_run_id = $1',
      [id],
    );
    await user.api.post(`/heartbeat-runs/${retry.id}/cancel`);
    await user.ended(retry.id);
  });

  it('measures how late a live stream is, and not how old what it repeats', async () => {
    const lags = async () => pick(await scrape(api.url), 'berth_activity_stream_lag_seconds_count');
    const stream = `${api.url}/api/companies/${companyId}/activity/stream`;
    const [before] = await lags();
    const late = await StreamClient.open(`${stream}?from=start`);
    await late.until(() => late.entries.length > 0);
    expect(await lags()).toEqual([before]);
    const { length } = late.entries;
    await user.issue(companyId);
    await late.until(() => late.entries.length > length);
    late.cut();
    await eventually(lags, ([now]) => now! > before!);
  });

  const pool = () => api.get(EntityManager).getDriver().getConnection().getNativeClient();

  it('asks the database once for all who ask within a second', async () => {
    await shows({ berth_database_up: 1 });
    const asked = jest.spyOn(await pool(), 'query');
    // The first of these are answered from what was just read.
    await eventually(
      () => Promise.all(Array.from({ length: 20 }, () => scrape(api.url))),
      () => asked.mock.calls.length > 0,
    );
    expect(asked).toHaveBeenCalledTimes(1);
    asked.mockRestore();
  });

  const outages: [string, (proxy: DatabaseProxy) => void][] = [
    ['hangs up', (proxy) => proxy.goAway()],
    ['falls silent', (proxy) => proxy.stall()],
    ['does not answer the door', (proxy) => [proxy.goAway(), proxy.stall()]],
  ];
  it.each(outages)('answers while the database %s, says so, and recovers', async (_how, fail) => {
    fail(api.proxy);
    const start = performance.now();
    const gone = await shows({ berth_database_up: 0 });
    expect(performance.now() - start).toBeLessThan(5_000);
    const ofDatabase = /^berth_(runs|leases|leases_overdue|lease_requests|places|places_parked|queue_\w+|runners)({|$)/;
    expect([...gone.keys()].filter((name) => ofDatabase.test(name))).toEqual([]);
    for (const name of [
      'process_cpu_seconds_total',
      'nodejs_eventloop_lag_p99_seconds',
      'berth_database_pool_waiting',
    ]) {
      expect(gone.get(name)).toBeGreaterThanOrEqual(0);
    }
    api.proxy.comeBack();
    const back = await shows({ berth_database_up: 1 });
    expect(back.get('berth_leases_overdue')).toBe(0);
  });

  it('gives up a statement that is not answered', async () => {
    await shows({ berth_database_up: 1 });
    const holder = await holdTransaction(api.database, 'lock table lease_requests');
    const asked = jest.spyOn(await pool(), 'query');
    await shows({ berth_database_up: 0 });
    await expect(asked.mock.results[0].value).rejects.toThrow('Query read timeout');
    asked.mockRestore();
    await holder.commit();
  });

  it('is for whoever operates the server, not for its agents', async () => {
    const agentId = await user.agent(companyId, 'true');
    const { body } = await user.api.post<{ token: string }>(`/agents/${agentId}/keys`, { name: 'k' });
    const answer = await fetch(`${api.url}/metrics`, { headers: { authorization: `Bearer ${body.token}` } });
    expect(answer.status).toBe(403);
  });

  it('is described with the rest of the API', async () => {
    const { body } = await user.api.get<{ paths: Record<string, { get: { tags: string[]; responses: object } }> }>(
      '/openapi.json',
    );
    expect(body.paths['/metrics'].get).toMatchObject({
      tags: ['Metrics'],
      responses: { 200: { content: { 'text/plain': {} } } },
    });
    expect((await fetch(`${api.url}/metrics`)).headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  });

  describe('on a database with a past', () => {
    beforeAll(async () => {
      const { id } = await user.wake(await user.agent(companyId, 'true'));
      const { agentId } = await user.ended(id);
      const [{ environmentId }] = await user.leases(id);
      await api.database.query(
        `create table past as select gen_random_uuid() as id, e.company_id as company, e.id as environment,
           $2::uuid as agent, now() - interval '10 days' - n * interval '1 minute' as since
         from environments e, generate_series(1, 5000) n where e.id = $1`,
        [environmentId, agentId],
      );
      const past = `
        insert into heartbeat_runs (id, company_id, agent_id, invocation_source, status, finished_at)
          select gen_random_uuid(), company, agent, 'timer', 'succeeded', now() from past;
        insert into environment_leases (id, company_id, environment_id, holder, status, provider, acquired_at,
            last_used_at, expires_at, lifetime_ends_at, released_at, held_until)
          select id, company, environment, 'past', 'released', 'local', since, since, since + interval '1 s',
            since + interval '1 day', since, since from past;
        insert into environment_places (id, company_id, environment_id, lease_id, state, driver, config_fingerprint,
            facts, realise_deadline_at, gone_at)
          select gen_random_uuid(), company, environment, id, 'gone', 'local', 'f', '{}', since, since from past;
        insert into runners (id, host, host_name, pid, slots, version, started_at, last_seen_at)
          select id, 'h', 'h', 1, 1, '1', since, since from past`;
      await api.database.query(past);
      await api.database.query('analyze');
    });

    it('reads no history', async () => {
      const plan = await api.database.query<{ 'QUERY PLAN': string }>(`explain ${DATABASE_STATE}`);
      const scans = plan.map((row) => row['QUERY PLAN']).filter((line) => line.includes('Seq Scan'));
      expect(scans.filter((line) => !/lease_requests/.test(line))).toEqual([]);
    });
  });
});
