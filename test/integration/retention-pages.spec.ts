import { EntityManager } from '@mikro-orm/postgresql';
import { verifyRecord } from '../../src/activity/verify/verify-record.js';
import { inTransaction } from '../../src/database/transaction.js';
import { CarryOut, type Outcome } from '../../src/retention/carry-out.js';
import type { Removal } from '../../src/retention/removals.js';
import { RemoveRuns } from '../../src/retention/remove-runs.js';
import type { RetentionKind } from '../../src/retention/retention-kind.js';
import { eventually } from '../support/eventually.js';
import { Fleet } from '../support/fleet.js';
import { HandRunner } from '../support/hand-runner.js';
import { holdTransaction } from '../support/held-transaction.js';
import { Past } from '../support/past.js';
import { Scenario } from '../support/scenario.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

const KEPT_OF_AN_AGENT = 6;

let app: TestApp;
let fleet: Fleet;
let environmentId: string;
let past: Past;

beforeAll(async () => {
  app = await startStillApp();
});
beforeEach(async () => {
  fleet = new Fleet(app, await new Scenario(app.url).company());
  environmentId = await fleet.create('environments', { name: 'Local', driver: 'local' });
  past = await Past.of(app.database, { companyId: fleet.companyId, environmentId });
});
afterEach(() => past.close());
afterAll(() => app.close());

const removal = (kind: RetentionKind, daysAgo: number): Removal => ({
  companyId: fleet.companyId,
  kind,
  before: Past.ago(daysAgo),
});
const carryOut = (kind: RetentionKind, daysAgo: number, stop = new AbortController().signal): Promise<Outcome> =>
  app.get(CarryOut).carryOut(removal(kind, daysAgo), stop);
/** Those of the ids that are still in the table. */
const left = async (table: string, ids: string[]): Promise<string[]> => {
  const rows = await app.database.query<{ id: string }>(`select id from ${table} where id = any($1)`, [ids]);
  const there = new Set(rows.map(({ id }) => id));
  return ids.filter((id) => there.has(id));
};
/** An agent whose later runs let the older ones go. */
const seasoned = async (): Promise<string> => {
  const agentId = await fleet.agent(20);
  for (let count = 0; count < KEPT_OF_AN_AGENT; count++) await past.run({ agentId, endedDaysAgo: 0.5 });
  return agentId;
};
const wrong = async () => (await verifyRecord(app.database.url, 30)).filter(({ found }) => found > 0);
const entries = () =>
  app.database.query<{ details: { kind: string; removed: Record<string, number> }; actor_id: string }>(
    `select details, actor_id from activity_log where company_id = $1 and action = 'retention.removed' order by seq`,
    [fleet.companyId],
  );

describe('a run that ended long ago', () => {
  it('goes with its lease, wakes, place and log, and its comment stays', async () => {
    const agentId = await seasoned();
    let old!: Awaited<ReturnType<Past['run']>>;
    const placeId = await past.withPlace(40, async (place) => {
      old = await past.run({ agentId, endedDaysAgo: 40, place, chunks: 3 });
      return old.leaseId;
    });
    const issueId = await fleet.user.issue(fleet.companyId);
    await app.database.query(
      `insert into issue_comments (id, company_id, issue_id, author_type, author_agent_id, created_by_run_id, body)
       values ($1, $2, $3, 'agent', $4, $5, 'Aye')`,
      [Past.idOf(40), fleet.companyId, issueId, agentId, old.id],
    );
    await carryOut('runs', 30);
    expect(await left('heartbeat_runs', [old.id])).toEqual([]);
    expect(await left('environment_leases', [old.leaseId])).toEqual([]);
    expect(await left('agent_wakeup_requests', [old.wakeId])).toEqual([]);
    expect(await left('environment_places', [placeId])).toEqual([]);
    const { body } = await fleet.user.api.get<{ body: string; createdByRunId: null }[]>(`/issues/${issueId}/comments`);
    expect(body).toMatchObject([{ body: 'Aye', createdByRunId: null }]);
    const removed = { runs: 1, leases: 1, places: 1, wakes: 1, runLogs: 3 };
    expect(await entries()).toMatchObject([{ details: { kind: 'runs', removed } }]);
    expect(await wrong()).toEqual([]);
  });

  it('stays among the last six of its agent', async () => {
    const agentId = await fleet.agent();
    const ids = [];
    for (let count = 8; count > 0; count--) ids.push((await past.run({ agentId, endedDaysAgo: 40 + count })).id);
    await carryOut('runs', 30);
    expect(await left('heartbeat_runs', ids)).toEqual(ids.slice(2));
  });

  it('stays as long as the run that repeats it, and goes with it', async () => {
    const agentId = await seasoned();
    const first = await past.run({ agentId, endedDaysAgo: 40 });
    const second = await past.run({ agentId, endedDaysAgo: 39, retryOf: first.id });
    const third = await past.run({ agentId, endedDaysAgo: 20, retryOf: second.id });
    const ids = [first.id, second.id, third.id];
    expect((await carryOut('runs', 30)).stuck.size).toBe(0);
    expect(await left('heartbeat_runs', ids)).toEqual(ids);
    await carryOut('runs', 10);
    expect(await left('heartbeat_runs', ids)).toEqual([]);
  });

  it('stays while its lease holds a place, and for as long again as that was kept', async () => {
    const agentId = await seasoned();
    let run!: Awaited<ReturnType<Past['run']>>;
    const placeId = await past.withPlace(40, async (place) => {
      run = await past.run({ agentId, endedDaysAgo: 40, place });
      return run.leaseId;
    });
    const hold = (state: string, until: string) =>
      app.database.query(
        `with lease as (update environment_leases set held_until = ${until} where id = '${run.leaseId}')
         update environment_places set state = '${state}', gone_at = ${state === 'gone' ? 'now()' : 'null'},
           keep_until = ${state === 'gone' ? 'null' : 'now()'} where id = '${placeId}'`,
      );
    await hold('retained', 'null');
    await carryOut('runs', 30);
    expect(await left('heartbeat_runs', [run.id])).toEqual([run.id]);
    await hold('gone', `now() - interval '20 days'`);
    await carryOut('runs', 30);
    expect(await left('heartbeat_runs', [run.id])).toEqual([run.id]);
    await carryOut('runs', 10);
    expect(await left('heartbeat_runs', [run.id])).toEqual([]);
  });

  it('keeps the last holder of a place that others had, until those are gone', async () => {
    const idle = await fleet.agent();
    const agentId = await seasoned();
    let former!: Awaited<ReturnType<Past['run']>>;
    let last!: Awaited<ReturnType<Past['run']>>;
    const placeId = await past.withPlace(40, async (place) => {
      former = await past.run({ agentId: idle, endedDaysAgo: 41, place });
      last = await past.run({ agentId, endedDaysAgo: 40, place });
      return last.leaseId;
    });
    expect((await carryOut('runs', 30)).stuck.size).toBe(0);
    expect(await left('heartbeat_runs', [former.id, last.id])).toEqual([former.id, last.id]);
    for (let count = 0; count < KEPT_OF_AN_AGENT; count++) await past.run({ agentId: idle, endedDaysAgo: 1 });
    await carryOut('runs', 30);
    expect(await left('heartbeat_runs', [former.id, last.id])).toEqual([]);
    expect(await left('environment_places', [placeId])).toEqual([]);
  });

  it('is told from one that was made long ago and ended lately, or not yet', async () => {
    const agentId = await seasoned();
    const late = await past.run({ agentId, endedDaysAgo: 20, madeDaysAgo: 60 });
    const waiting = await past.run({ agentId, endedDaysAgo: 40 });
    await app.database.query(
      `update heartbeat_runs set status = 'queued', finished_at = null, started_at = null where id = $1`,
      [waiting.id],
    );
    await carryOut('runs', 30);
    expect(await left('heartbeat_runs', [late.id, waiting.id])).toEqual([late.id, waiting.id]);
    await app.database.query('delete from environment_leases where id = $1', [waiting.leaseId]);
    await app.database.query('delete from activity_rows where run_id = $1', [waiting.id]);
    await app.database.query('delete from heartbeat_runs where id = $1', [waiting.id]).catch(() => undefined);
    await app.database.query('delete from agent_wakeup_requests where id = $1', [waiting.wakeId]);
    await app.database.query('delete from heartbeat_runs where id = $1', [waiting.id]);
  });
});

describe('a reservation and a wake without a run', () => {
  it('go when they ended long ago', async () => {
    const agentId = await fleet.agent();
    const [old, late] = [await past.reservation(40), await past.reservation(20)];
    const wakes = [await past.wake(agentId, 40), await past.wake(agentId, 39, 'skipped'), await past.wake(agentId, 20)];
    let holder!: string;
    const placeId = await past.withPlace(41, async (place) => {
      await past.reservation(42, place);
      return (holder = await past.reservation(41, place));
    });
    await carryOut('runs', 30);
    expect(await left('environment_leases', [old, late, holder])).toEqual([late]);
    expect(await left('environment_places', [placeId])).toEqual([]);
    expect(await left('agent_wakeup_requests', wakes)).toEqual(wakes.slice(2));
    expect(await wrong()).toEqual([]);
  });

  it('stay while they hold, or wait', async () => {
    const agentId = await fleet.agent();
    const held = await past.reservation(40);
    await app.database.query(
      `update environment_leases set status = 'active', released_at = null, held_until = null,
         expires_at = now() + interval '1 day' where id = $1`,
      [held],
    );
    const waiting = await past.wake(agentId, 40, 'deferred_issue_execution');
    await carryOut('runs', 30);
    expect(await left('environment_leases', [held])).toEqual([held]);
    expect(await left('agent_wakeup_requests', [waiting])).toEqual([waiting]);
    await app.database.query('delete from environment_leases where id = $1', [held]);
    await app.database.query(`delete from activity_rows where entity_id = $1::text`, [held]);
  });

  it('leave the highest token behind, so that the database does not count as restored', async () => {
    await past.reservation(40);
    const highest =
      'select greatest(token_floor, (select max(fencing_token) from environment_leases)) as token from instance';
    const [before] = await app.database.query(highest);
    await carryOut('runs', 30);
    expect(await app.database.query(highest)).toEqual([before]);
  });
});

describe('the log of a run', () => {
  const chunks = async (id: string) =>
    (await app.database.query('select 1 from heartbeat_run_log_chunks where run_id = $1', [id])).length;

  it('goes before its run, whole, and says so from then on', async () => {
    const agentId = await fleet.agent();
    const old = await past.run({ agentId, endedDaysAgo: 20, chunks: 3 });
    const late = await past.run({ agentId, endedDaysAgo: 5, chunks: 2 });
    const silent = await past.run({ agentId, endedDaysAgo: 20 });
    const log = (id: string) => fleet.user.api.get<{ code?: string; content: string }>(`/heartbeat-runs/${id}/log`);
    await carryOut('runLogs', 10);
    expect([await chunks(old.id), await chunks(late.id)]).toEqual([0, 2]);
    expect(await log(old.id)).toMatchObject({ status: 410, body: { code: 'run_log_removed' } });
    expect(await log(late.id)).toMatchObject({ status: 200 });
    expect(await log(silent.id)).toMatchObject({ status: 200, body: { content: '' } });
    const end = await fleet.user.api.get(`/heartbeat-runs/${late.id}/log?offset=8`);
    expect(end).toMatchObject({ status: 200, body: { content: '', nextOffset: 8 } });
    expect((await fleet.user.run(old.id)).status).toBe('succeeded');
  });

  it('goes also when its run had waited so long that others went before', async () => {
    const agentId = await fleet.agent();
    const slow = await past.run({ agentId, endedDaysAgo: 8, madeDaysAgo: 30, chunks: 1 });
    const quick = await past.run({ agentId, endedDaysAgo: 20, chunks: 1 });
    await carryOut('runLogs', 10);
    expect([await chunks(slow.id), await chunks(quick.id)]).toEqual([1, 0]);
    await carryOut('runLogs', 5);
    expect(await chunks(slow.id)).toBe(0);
  });

  it('is looked for again behind a run that goes on, however many have ended since', async () => {
    const agentId = await fleet.agent();
    // One that waits, and more than a page of others.
    await app.database.query(
      `insert into heartbeat_runs (id, company_id, agent_id, invocation_source, status, finished_at)
       select first_id_at(now() - interval '20 days' + make_interval(secs => n)), $1, $2, 'on_demand',
         case n when 0 then 'queued' else 'succeeded' end, case when n > 0 then now() - interval '19 days' end
       from generate_series(0, 600) n`,
      [fleet.companyId, agentId],
    );
    await carryOut('runLogs', 10);
    const [row] = await app.database.query<{ resume_after: string | null }>(
      `select resume_after from retention_horizons where company_id = $1 and kind = 'runLogs'`,
      [fleet.companyId],
    );
    expect(row.resume_after).toBeNull();
    await app.database.query('delete from heartbeat_runs where company_id = $1', [fleet.companyId]);
  });

  it('is not looked for again where there is none any more', async () => {
    const agentId = await fleet.agent();
    const first = await past.run({ agentId, endedDaysAgo: 20, chunks: 1 });
    await past.run({ agentId, endedDaysAgo: 5, chunks: 1 });
    await carryOut('runLogs', 10);
    const [row] = await app.database.query<{ resume_after: string }>(
      `select resume_after from retention_horizons where company_id = $1 and kind = 'runLogs'`,
      [fleet.companyId],
    );
    expect(row.resume_after).toBe(first.id);
  });
});

describe('the record', () => {
  it('loses its oldest entries, and still agrees with the state', async () => {
    const agentId = await fleet.agent();
    const run = await past.run({ agentId, endedDaysAgo: 20 });
    await app.database.query(
      `update activity_rows set created_at = now() - interval '30 days' where company_id = $1 and entity_type in ('company', 'agent')`,
      [fleet.companyId],
    );
    await carryOut('activity', 10);
    const { body } = await fleet.user.api.get<{ action: string }[]>(`/companies/${fleet.companyId}/activity`);
    expect(body.map(({ action }) => action)).toEqual(['retention.removed', 'environment.created']);
    expect(await wrong()).toEqual([]);
    await app.database.query(`update heartbeat_runs set status = 'cancelled' where id = $1`, [run.id]);
    await app.database.query(`update activity_folds set begins = 0 where entity_id = $1`, [run.leaseId]);
    expect(await wrong()).toMatchObject([
      { name: 'heartbeat_runs_as_recorded' },
      { name: 'leases_begin_and_end_once' },
    ]);
    await app.database.query(`update heartbeat_runs set status = 'succeeded' where id = $1`, [run.id]);
    await app.database.query(`update activity_folds set begins = 1 where entity_id = $1`, [run.leaseId]);
  });

  it('is folded on from where it was, and forgets what its run has left', async () => {
    const agentId = await seasoned();
    const run = await past.run({ agentId, endedDaysAgo: 20, startedDaysAgo: 28, madeDaysAgo: 30 });
    await carryOut('activity', 25);
    const folds = () =>
      app.database.query(
        `select entity_type, state, begins, ends from activity_folds where entity_id = any($1) order by 1`,
        [[run.id, run.leaseId]],
      );
    expect(await folds()).toEqual([
      { entity_type: 'environment_lease', state: 'active', begins: 1, ends: 0 },
      { entity_type: 'heartbeat_run', state: 'running', begins: 1, ends: 0 },
    ]);
    expect(await wrong()).toEqual([]);
    await carryOut('activity', 10);
    expect(await folds()).toEqual([
      { entity_type: 'environment_lease', state: 'released', begins: 1, ends: 1 },
      { entity_type: 'heartbeat_run', state: 'succeeded', begins: 1, ends: 1 },
    ]);
    expect(await wrong()).toEqual([]);
    await carryOut('runs', 10);
    expect(await folds()).toEqual([]);
    expect(await wrong()).toEqual([]);
  });

  it('is found by a run and a lease that are gone', async () => {
    const agentId = await seasoned();
    const run = await past.run({ agentId, endedDaysAgo: 40 });
    const told = async (query: string) => {
      const { body } = await fleet.user.api.get<{ action: string }[]>(
        `/companies/${fleet.companyId}/activity?${query}`,
      );
      return body.map(({ action }) => action);
    };
    const before = [
      await told(`runId=${run.id}`),
      await told(`entityId=${run.id}`),
      await told(`entityId=${run.leaseId}`),
    ];
    expect(before.map(({ length }) => length)).toEqual([5, 3, 2]);
    await carryOut('runs', 30);
    expect(await left('heartbeat_runs', [run.id])).toEqual([]);
    const after = [
      await told(`runId=${run.id}`),
      await told(`entityId=${run.id}`),
      await told(`entityId=${run.leaseId}`),
    ];
    expect(after).toEqual(before);
  });

  it('excuses a row that is missing only where it had ended before the horizon', async () => {
    const agentId = await seasoned();
    await past.run({ agentId, endedDaysAgo: 40 });
    await carryOut('runs', 30);
    const lost = Past.idOf(20);
    await past.entry('heartbeat.invoked', 'heartbeat_run', lost, lost, Past.ago(20));
    await past.entry('heartbeat.succeeded', 'heartbeat_run', lost, lost, Past.ago(20));
    const vanished = Past.idOf(50);
    await past.entry('heartbeat.invoked', 'heartbeat_run', vanished, vanished, Past.ago(50));
    const [found] = await wrong();
    expect(found.divergences.map(({ id }) => id).sort()).toEqual([lost, vanished].sort());
    await app.database.query('delete from activity_rows where run_id = any($1)', [[lost, vanished]]);
  });
});

describe('a page', () => {
  it('waits for nobody: what somebody holds is passed by', async () => {
    const agentId = await seasoned();
    const runs = [await past.run({ agentId, endedDaysAgo: 40 }), await past.run({ agentId, endedDaysAgo: 40 })];
    const other = await holdTransaction(app.database, 'select 1 from heartbeat_runs where id = $1 for update', [
      runs[0].id,
    ]);
    const { removed, stuck } = await carryOut('runs', 30);
    expect({ removed, stuck: stuck.size }).toEqual({ removed: 3, stuck: 0 });
    const ids = runs.map(({ id }) => id);
    expect(await left('heartbeat_runs', ids)).toEqual([ids[0]]);
    await other.commit();
  });

  it('lets runs start and end beside it, whatever it holds', async () => {
    const agentId = await seasoned();
    for (let count = 0; count < 20; count++) await past.run({ agentId, endedDaysAgo: 40, chunks: 2 });
    const em = app.get(EntityManager);
    const hand = new HandRunner(app);
    const runs = app.get(RemoveRuns);
    let go!: () => void;
    const held = new Promise<void>((resolve) => (go = resolve));
    let removed = 0;
    const page = inTransaction(em, async () => {
      const { ids } = await runs.due(removal('runs', 30), null);
      removed = await runs.remove(removal('runs', 30), ids);
      await held;
    });
    await eventually(
      async () => removed,
      (rows) => rows > 0,
    );
    try {
      await fleet.wake(agentId, 2);
      await hand.end(await hand.started(agentId));
      await fleet.user.api.patch(`/companies/${fleet.companyId}`, { name: 'Still here' });
      expect(await left('heartbeat_runs', [(await hand.started(agentId)).id])).toHaveLength(1);
      // Only another page has to wait.
      await expect(carryOut('activity', 30)).rejects.toThrow(/lock timeout/);
    } finally {
      go();
      await page;
    }
  });

  it('is rolled back whole when its process dies in the middle, and done by the next', async () => {
    const agentId = await seasoned();
    const run = await past.run({ agentId, endedDaysAgo: 40, chunks: 2 });
    // By then the statement has deleted some of it.
    await app.database.query(`
      create function linger() returns trigger language plpgsql as $$ begin perform pg_sleep(30); return old; end $$;
      create trigger linger before delete on environment_leases for each row execute function linger()`);
    const cut = carryOut('runs', 30);
    cut.catch(() => undefined);
    const inTheMiddle = `from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`;
    await eventually(
      () => app.database.query(`select 1 ${inTheMiddle}`),
      (rows) => rows.length > 0,
    );
    await app.database.query(`select pg_terminate_backend(pid) ${inTheMiddle}`);
    await expect(cut).rejects.toThrow();
    await app.database.query('drop function linger cascade');
    expect(await left('heartbeat_runs', [run.id])).toEqual([run.id]);
    expect(await app.database.query('select 1 from heartbeat_run_log_chunks where run_id = $1', [run.id])).toHaveLength(
      2,
    );
    expect(await entries()).toEqual([]);
    await carryOut('runs', 30);
    expect(await left('heartbeat_runs', [run.id])).toEqual([]);
    expect(await entries()).toHaveLength(1);
  });

  it('gives up waiting after a second, and then tries each row alone', async () => {
    const agentId = await seasoned();
    const runs = [await past.run({ agentId, endedDaysAgo: 40 }), await past.run({ agentId, endedDaysAgo: 40 })];
    const other = await holdTransaction(app.database, `select 1 from environment_leases where id = $1 for update`, [
      runs[0].leaseId,
    ]);
    const { stuck } = await carryOut('runs', 30);
    expect([...stuck]).toEqual([runs[0].id]);
    await other.commit();
    expect(
      await left(
        'heartbeat_runs',
        runs.map(({ id }) => id),
      ),
    ).toEqual([runs[0].id]);
  });

  it('ends between two pages when it is told to', async () => {
    const agentId = await seasoned();
    await past.run({ agentId, endedDaysAgo: 40 });
    await expect(carryOut('runs', 30, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
    expect(await entries()).toEqual([]);
  });

  it('shares the rows with another sweeper, and none goes twice', async () => {
    const agentId = await seasoned();
    for (let count = 0; count < 30; count++) await past.run({ agentId, endedDaysAgo: 40, chunks: 1 });
    await Promise.all([carryOut('runs', 30), carryOut('runs', 30), carryOut('activity', 30), carryOut('activity', 30)]);
    const told = await entries();
    const sum = (what: string) => told.reduce((all, { details }) => all + (details.removed[what] ?? 0), 0);
    expect([sum('runs'), sum('leases'), sum('wakes'), sum('activity')]).toEqual([30, 30, 30, 150]);
    expect(await wrong()).toEqual([]);
  });
});
