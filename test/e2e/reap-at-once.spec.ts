import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '../support/eventually.js';
import { Scenario } from '../support/scenario.js';
import { scrape } from '../support/scraped.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

const IS_LONG = Boolean(process.env.TEST_LONG);
/** How many leases run out at once, and how many agents had them. */
const LEASES = IS_LONG ? 10_000 : 300;
const AGENTS = LEASES / 20;
/** Callers who keep asking meanwhile, and how long each waits in between, in milliseconds. */
const CALLERS = 4;
const BREATH_MS = 10;

describe('when very many leases run out at once', () => {
  let app: TestApp;
  let user: Scenario;
  let companyId: string;
  let agents: string[];

  beforeAll(async () => {
    app = await startTestApp({ config: { roles: new Set(['api']) } });
    user = new Scenario(app.url);
    companyId = await user.company();
    agents = (await fill()).map(({ agent }) => agent);
  }, 60_000);
  afterAll(() => app.close());

  /** Runs of a runner that has died; every other one is on an issue of its own. */
  async function fill(): Promise<{ agent: string }[]> {
    const [{ id: environmentId }] = (await user.api.get<{ id: string }[]>(`/companies/${companyId}/environments`)).body;
    await app.database.query(
      `with agent as (
         insert into agents (id, company_id, name, adapter_type)
         select gen_random_uuid(), $1, 'deckhand ' || n, 'process' from generate_series(1, ${AGENTS}) n returning id),
       numbered as materialized (select id, row_number() over () as n from agent),
       run as materialized (
         select gen_random_uuid() as id, gen_random_uuid() as lease, gen_random_uuid() as wake, a.id as agent, s.n,
           case when s.n % 2 = 0 then gen_random_uuid() end as issue
         from generate_series(1, ${LEASES}) s(n) join numbered a on a.n = 1 + s.n % ${AGENTS}),
       issue as (
         insert into issues (id, company_id, number, identifier, title, assignee_agent_id, status)
         select issue, $1, n, 'AT-' || n, 'Fix the anchor', agent, 'in_progress' from run where issue is not null),
       started as (
         insert into heartbeat_runs (id, company_id, agent_id, issue_id, wakeup_request_id, invocation_source, status,
           lease_id, runner_id, started_at)
         select id, $1, agent, issue, wake, 'on_demand', 'running', lease, 'dead', now() from run)
       insert into environment_leases (id, company_id, environment_id, issue_id, heartbeat_run_id, run_lease_id, holder,
         status, provider, runner_id, acquired_at, last_used_at, expires_at, lifetime_ends_at)
       select lease, $1, $2, issue, id, lease, 'run:' || id, 'active', 'local', 'dead', now(), now(),
         now() + interval '1 h', now() + interval '1 day' from run`,
      [companyId, environmentId],
    );
    await app.database.query('analyze');
    return app.database.query('select distinct agent_id as agent from heartbeat_runs');
  }

  /** Asks and wakes until `stop`; @returns how long each answer took, in milliseconds. */
  async function call(stop: AbortSignal, took: { read: number[]; wake: number[] }): Promise<void> {
    while (!stop.aborted) {
      const agentId = agents[Math.floor(Math.random() * agents.length)];
      const start = performance.now();
      expect((await user.api.get(`/companies/${companyId}/heartbeat-runs?limit=20`)).status).toBe(200);
      const read = performance.now();
      await user.wake(agentId, { payload: { taskKey: 'meanwhile' } });
      took.read.push(read - start);
      took.wake.push(performance.now() - read);
      await delay(BREATH_MS);
    }
  }

  /** Lets callers ask until `until` is done. */
  async function meanwhile(until: () => Promise<unknown>) {
    const stop = new AbortController();
    const took = { read: [], wake: [] };
    const calls = Promise.all(Array.from({ length: CALLERS }, () => call(stop.signal, took)));
    await until().finally(() => stop.abort());
    await calls;
    return { read: percentiles(took.read), wake: percentiles(took.wake) };
  }

  it(`reclaims ${LEASES} in time, and answers meanwhile`, async () => {
    const before = await meanwhile(() => delay(IS_LONG ? 5_000 : 100));
    await app.database.query(`update environment_leases set expires_at = clock_timestamp() + interval '500 ms'`);
    const start = performance.now();
    const busy = await meanwhile(() =>
      eventually(
        () => scrape(app.url),
        (seen) => seen.get('berth_leases_ended_total{status="expired"}') === LEASES,
        LEASES * 40,
      ),
    );
    const seen = await scrape(app.url);
    const lag = (seen.get('berth_lease_reap_lag_seconds_sum') ?? 0) / LEASES;
    const figures = {
      leases: LEASES,
      tookMs: Math.round(performance.now() - start),
      meanLagSec: lag,
      before,
      meanwhile: busy,
    };
    if (IS_LONG) process.stdout.write(`${JSON.stringify(figures, null, 1)}\n`);
    expect(await app.database.query(`select status, count(*)::integer from environment_leases group by 1`)).toEqual([
      { status: 'expired', count: LEASES },
    ]);
  }, 400_000);
});

function percentiles(took: number[]) {
  const sorted = took.sort((a, b) => a - b);
  const at = (share: number) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]);
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}
