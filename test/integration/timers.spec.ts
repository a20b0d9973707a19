import { Timers } from '../../src/heartbeat/wakes/timers.js';
import { HandRunner } from '../support/hand-runner.js';
import { holdTransaction } from '../support/held-transaction.js';
import { Scenario } from '../support/scenario.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

const alike = (count: number) => Array.from({ length: count });

describe(Timers.name, () => {
  let app: TestApp;
  let user: Scenario;
  let hand: HandRunner;
  let companyId: string;

  beforeAll(async () => {
    app = await startStillApp();
    user = new Scenario(app.url);
    hand = new HandRunner(app);
  });
  beforeEach(async () => void (companyId = await user.company()));
  afterEach(() => app.database.query('update agents set next_timer_at = null'));
  afterAll(() => app.close());

  const timed = (heartbeat: object = {}) =>
    user.agent(companyId, 'true', { runtimeConfig: { heartbeat: { enabled: true, intervalSec: 60, ...heartbeat } } });
  const tick = () => app.get(Timers).tick();

  /** The agent's beat was due this long ago. */
  const dueSince = async (agentId: string, interval = '1 second'): Promise<Date> => {
    const [row] = await app.database.query<{ due: Date }>(
      'update agents set next_timer_at = now() - $2::interval where id = $1 returning next_timer_at as due',
      [agentId, interval],
    );
    return row.due;
  };
  const nextBeat = async (agentId: string): Promise<Date | null> => {
    const rows = await app.database.query<{ next: Date | null }>(
      'select next_timer_at as next from agents where id = $1',
      [agentId],
    );
    return rows[0].next;
  };
  const runsOf = (agentId: string) =>
    app.database.query<{ id: string; status: string; invocation_source: string }>(
      'select id, status, invocation_source from heartbeat_runs where agent_id = $1 order by id',
      [agentId],
    );
  const skipsOf = (agentId: string) =>
    app.database.query<{ reason: string; count: number }>(
      `select status_reason as reason, coalesced_count + 1 as count from agent_wakeup_requests
       where agent_id = $1 and status = 'skipped'`,
      [agentId],
    );

  it('wakes an agent that is due, and says so in the record', async () => {
    const agentId = await timed();
    await dueSince(agentId);
    await tick();
    const [run, ...others] = await runsOf(agentId);
    expect(others).toEqual([]);
    expect(run).toMatchObject({ status: 'queued', invocation_source: 'timer' });
    expect((await user.run(run.id)).contextSnapshot).toMatchObject({ wakeReason: 'heartbeat_timer' });
    expect(await user.actions(companyId, run.id)).toEqual(['heartbeat.queued']);
  });

  it('wakes nobody before the time', async () => {
    const agentId = await timed();
    await app.database.query(`update agents set next_timer_at = now() + interval '2 s' where id = $1`, [agentId]);
    await tick();
    expect(await runsOf(agentId)).toEqual([]);
  });

  it('counts the next beat from the one before, however late it is noticed', async () => {
    const agentId = await timed();
    let due = await dueSince(agentId, '7 seconds');
    for (const _ of alike(5)) {
      await tick();
      expect((await nextBeat(agentId))!.getTime()).toBe(due.getTime() + 60_000);
      // An hour of such beats goes by.
      due = await dueSince(agentId, '9 seconds');
    }
  });

  it('makes one wake of all beats that were slept through, and stays in step', async () => {
    const agentId = await timed();
    const due = await dueSince(agentId, '1 day 17 seconds');
    await tick();
    await tick();
    expect(await runsOf(agentId)).toHaveLength(1);
    expect(await skipsOf(agentId)).toEqual([]);
    const next = (await nextBeat(agentId))!.getTime();
    expect((next - due.getTime()) % 60_000).toBe(0);
    expect(next).toBeGreaterThan(Date.now());
    expect(next).toBeLessThan(Date.now() + 60_000);
  });

  it('has one wake waiting at most, however many beats pass while the agent is busy', async () => {
    const agentId = await timed({ maxConcurrentRuns: 1 });
    await user.wake(agentId);
    await hand.started(agentId);
    for (const _ of alike(10)) {
      await dueSince(agentId);
      await tick();
    }
    expect((await runsOf(agentId)).map(({ status }) => status)).toEqual(['running', 'queued']);
    expect(await skipsOf(agentId)).toEqual([{ reason: 'run_already_queued', count: 9 }]);
  });

  it('has one wake waiting at most while a failed one waits for its retry', async () => {
    const agentId = await timed();
    await dueSince(agentId);
    await tick();
    await hand.failTransiently(agentId);
    for (const _ of alike(3)) {
      await dueSince(agentId);
      await tick();
    }
    expect((await runsOf(agentId)).map(({ status }) => status)).toEqual(['failed', 'scheduled_retry']);
    expect(await skipsOf(agentId)).toEqual([{ reason: 'retry_scheduled', count: 3 }]);
  });

  it('keeps its time whatever else wakes the agent', async () => {
    const agentId = await timed();
    const due = await dueSince(agentId, '-5 seconds');
    const issueId = await user.issue(companyId, { assigneeAgentId: agentId });
    await user.api.post(`/issues/${issueId}/comments`, { body: 'And the rope?' });
    await user.wake(agentId, { payload: { taskKey: 'other' } });
    expect(await nextBeat(agentId)).toEqual(due);
    await dueSince(agentId);
    await tick();
    expect((await runsOf(agentId)).map((run) => run.invocation_source)).toContain('timer');
  });

  it('wakes each agent once, however many processes look', async () => {
    const agents = await Promise.all(alike(4).map(() => timed()));
    for (const _ of alike(3)) {
      for (const agentId of agents) await dueSince(agentId);
      await Promise.all(alike(8).map(() => tick()));
      for (const agentId of agents) await hand.end(await hand.started(agentId));
    }
    for (const agentId of agents) {
      expect(await runsOf(agentId)).toHaveLength(3);
      expect(await skipsOf(agentId)).toEqual([]);
    }
  });

  it('does not wait for an agent that somebody else holds', async () => {
    const [held, free] = [await timed(), await timed()];
    await dueSince(held, '2 seconds');
    await dueSince(free);
    const other = await holdTransaction(app.database, 'select 1 from agents where id = $1 for no key update', [held]);
    await tick();
    expect(await runsOf(held)).toEqual([]);
    expect(await runsOf(free)).toHaveLength(1);
    await other.commit();
    await tick();
    expect(await runsOf(held)).toHaveLength(1);
  });

  describe('with an agent that cannot be woken', () => {
    /** The database refuses this for one agent; everything else goes through. */
    async function refusing(table: string, when: string, work: () => Promise<void>): Promise<void> {
      await app.database.query(`create or replace function refuse() returns trigger language plpgsql as
        $$ begin raise exception 'not this one'; end $$`);
      await app.database.query(
        `create trigger refuse before insert or update on ${table} for each row when (${when}) execute function refuse()`,
      );
      await work().finally(() => app.database.query(`drop trigger refuse on ${table}`));
    }

    it('wakes the others, and passes its beat over', async () => {
      const [bad, good] = [await timed(), await timed()];
      const due = await dueSince(bad, '2 seconds');
      await dueSince(good);
      await refusing('heartbeat_runs', `new.agent_id = '${bad}'`, tick);
      expect(await runsOf(good)).toHaveLength(1);
      expect(await runsOf(bad)).toEqual([]);
      expect((await nextBeat(bad))!.getTime()).toBe(due.getTime() + 60_000);
    });

    it('wakes the others even where not even its beat can be passed over', async () => {
      const [bad, good] = [await timed(), await timed()];
      await dueSince(bad, '2 seconds');
      await dueSince(good);
      await refusing('agents', `new.id = '${bad}'`, tick);
      expect(await runsOf(good)).toHaveLength(1);
      await tick();
      expect(await runsOf(bad)).toHaveLength(1);
    });

    it('wakes the others even where a whole page cannot be passed over', async () => {
      const make = `insert into agents (id, company_id, name, adapter_type, runtime_config, next_timer_at)
        select gen_random_uuid(), $1, 'bad hand', 'process', '{"heartbeat":{"enabled":true}}', now() - interval '1 min'
        from generate_series(1, 101) n`;
      await app.database.query(make, [companyId]);
      const good = await timed();
      await dueSince(good);
      await refusing('agents', `new.name = 'bad hand'`, tick);
      expect(await runsOf(good)).toHaveLength(1);
    });
  });

  describe('of an agent that is stopped', () => {
    it('skips and counts its beats while it is paused, and does not make up for them', async () => {
      const agentId = await timed();
      await user.api.post(`/agents/${agentId}/pause`);
      for (const _ of alike(3)) {
        await dueSince(agentId);
        await tick();
      }
      expect(await runsOf(agentId)).toEqual([]);
      expect(await skipsOf(agentId)).toEqual([{ reason: 'agent_paused', count: 3 }]);
      await dueSince(agentId, '1 hour');
      await user.api.post(`/agents/${agentId}/resume`);
      await tick();
      expect(await runsOf(agentId)).toEqual([]);
      expect((await nextBeat(agentId))!.getTime()).toBeGreaterThan(Date.now());
    });

    it.each([
      ['its timer is turned off', { enabled: false }],
      ['nothing is said of timers any more', {}],
    ])('has no next beat once %s', async (_name, heartbeat) => {
      const agentId = await timed();
      expect(await nextBeat(agentId)).not.toBeNull();
      await user.api.patch(`/agents/${agentId}`, { runtimeConfig: { heartbeat } });
      expect(await nextBeat(agentId)).toBeNull();
    });

    it('has no next beat once it is terminated', async () => {
      const agentId = await timed();
      await user.api.post(`/agents/${agentId}/terminate`);
      expect(await nextBeat(agentId)).toBeNull();
    });

    it('skips and counts its beats once its company is archived', async () => {
      const agentId = await timed();
      await app.database.query(`update companies set status = 'archived', archived_at = now() where id = $1`, [
        companyId,
      ]);
      await dueSince(agentId);
      await tick();
      expect(await runsOf(agentId)).toEqual([]);
      expect(await skipsOf(agentId)).toEqual([{ reason: 'company_archived', count: 1 }]);
    });
  });

  it('spreads agents that are made together over their interval', async () => {
    const agents = await Promise.all(alike(20).map(() => timed({ intervalSec: 3600 })));
    const beats = await Promise.all(agents.map(async (agentId) => (await nextBeat(agentId))!.getTime() - Date.now()));
    const halves = [beats.filter((ms) => ms < 1_800_000), beats.filter((ms) => ms >= 1_800_000)];
    expect(Math.min(...beats)).toBeGreaterThan(-60_000);
    expect(Math.max(...beats)).toBeLessThanOrEqual(3_600_000);
    for (const half of halves) expect(half.length).toBeGreaterThan(1);
  });

  it('refuses an interval of less than 10 seconds', async () => {
    const runtimeConfig = { heartbeat: { enabled: true, intervalSec: 9 } };
    const answer = await user.api.post(`/companies/${companyId}/agents`, { name: 'hasty', runtimeConfig });
    expect(answer).toMatchObject({
      status: 400,
      body: { details: [{ field: 'runtimeConfig.heartbeat.intervalSec' }] },
    });
  });
});
