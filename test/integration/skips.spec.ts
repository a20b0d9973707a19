import { Timers } from '../../src/heartbeat/wakes/timers.js';
import { Scenario, type ActivityEntry } from '../support/scenario.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

interface Skip {
  id: string;
  status_reason: string;
  coalesced_count: number;
  source: string;
  reason: string | null;
  created_at: Date;
  finished_at: Date;
}

describe('skipped wakes', () => {
  let app: TestApp;
  let user: Scenario;
  let companyId: string;
  let agentId: string;

  beforeAll(async () => {
    app = await startStillApp();
    user = new Scenario(app.url);
  });
  beforeEach(async () => {
    companyId = await user.company();
    const runtimeConfig = { heartbeat: { enabled: true, intervalSec: 10, wakeOnDemand: false } };
    agentId = await user.agent(companyId, 'true', { runtimeConfig });
  });
  afterEach(() => app.database.query('update agents set next_timer_at = null'));
  afterAll(() => app.close());

  const skips = () =>
    app.database.query<Skip>(
      `select * from agent_wakeup_requests where agent_id = $1 and status = 'skipped' order by id`,
      [agentId],
    );
  const records = async () => {
    const { body } = await user.api.get<ActivityEntry[]>(`/companies/${companyId}/activity?limit=200`);
    return body.filter(({ action }) => action === 'heartbeat.skipped');
  };
  const pause = () => user.api.post(`/agents/${agentId}/pause`);
  const beat = async (times = 1) => {
    for (let count = 0; count < times; count++) {
      await app.database.query(`update agents set next_timer_at = now() - interval '1 s' where id = $1`, [agentId]);
      await app.get(Timers).tick();
    }
  };
  const totalRows = async () => {
    const [{ tables }] = await app.database.query<{ tables: string }>(
      `select string_agg(format('(select count(*) from %I)', tablename), ' + ') as tables
       from pg_tables where schemaname = 'public'`,
    );
    const [{ rows }] = await app.database.query<{ rows: string }>(`select (${tables})::text as rows`);
    return Number(rows);
  };

  it('are answered with their reason', async () => {
    const answer = await user.wake(agentId, { reason: 'please' });
    expect(answer).toMatchObject({ status: 'skipped', reason: 'wake_on_demand_disabled' });
  });

  it('are one row per agent and reason, with how often and when last', async () => {
    for (let count = 0; count < 3; count++) await user.wake(agentId, { reason: `wish ${count}` });
    await pause();
    await beat(2);
    const [onDemand, paused, ...others] = await skips();
    expect(others).toEqual([]);
    expect(onDemand).toMatchObject({
      status_reason: 'wake_on_demand_disabled',
      coalesced_count: 2,
      source: 'on_demand',
      reason: 'wish 2',
    });
    expect(onDemand.finished_at.getTime()).toBeGreaterThan(onDemand.created_at.getTime());
    expect(paused).toMatchObject({ status_reason: 'agent_paused', coalesced_count: 1, source: 'timer' });
  });

  it('are counted right when they come at once', async () => {
    await Promise.all(Array.from({ length: 12 }, () => user.wake(agentId)));
    expect(await skips()).toMatchObject([{ coalesced_count: 11 }]);
    expect(await records()).toHaveLength(12);
  });

  it('of a timer are recorded once', async () => {
    await pause();
    await beat(5);
    expect(await skips()).toMatchObject([{ coalesced_count: 4 }]);
    expect(await records()).toMatchObject([{ details: { reason: 'agent_paused' } }]);
  });

  it('grow the database by no row, however many beats of a timer', async () => {
    await pause();
    await beat();
    const before = await totalRows();
    // Each beat is due again at once.
    await app.database.query(`create function due_again() returns trigger language plpgsql as
      $$ begin new.next_timer_at := now() - interval '1 s'; return new; end $$`);
    await app.database.query(
      'create trigger due_again before update on agents for each row execute function due_again()',
    );
    await app.database.query('update agents set next_timer_at = null where id = $1', [agentId]);
    for (let count = 0; count < 100; count++) await app.get(Timers).tick();
    await app.database.query('drop trigger due_again on agents');
    expect(await skips()).toMatchObject([{ coalesced_count: 100 }]);
    expect(await totalRows()).toBe(before);
  });

  it('are refused by the database when they are two of one reason', async () => {
    await user.wake(agentId);
    const again = `insert into agent_wakeup_requests (id, company_id, agent_id, source, status, status_reason,
        requested_by_actor_type, requested_by_actor_id, finished_at)
      values (gen_random_uuid(), $1, $2, 'timer', 'skipped', 'wake_on_demand_disabled', 'system', 'test', now())`;
    await expect(app.database.query(again, [companyId, agentId])).rejects.toMatchObject({
      constraint: 'agent_wakeup_requests_one_skipped',
    });
  });

  it('of a comment or an assignment leave that as it is', async () => {
    await pause();
    const issueId = await user.issue(companyId, { assigneeAgentId: agentId });
    expect((await user.api.post(`/issues/${issueId}/comments`, { body: 'Well?' })).status).toBe(201);
    expect(await skips()).toMatchObject([
      { status_reason: 'agent_paused', coalesced_count: 1, reason: 'issue_commented' },
    ]);
    expect(await records()).toHaveLength(2);
  });
});
