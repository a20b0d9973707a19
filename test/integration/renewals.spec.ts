import { jest } from '@jest/globals';
import { EntityManager } from '@mikro-orm/postgresql';
import { inTransaction } from '../../src/database/transaction.js';
import { bootClock } from '../../src/environments/drivers/guard/boot-clock.js';
import { ReapLeases } from '../../src/heartbeat/ending/reap-leases.js';
import { DueStops } from '../../src/heartbeat/execution/due-stops.js';
import { Renewer } from '../../src/heartbeat/execution/renewer.js';
import { RunningRuns } from '../../src/heartbeat/execution/running-runs.js';
import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import { RenewLeases } from '../../src/leases/renew-leases.js';
import { eventually } from '../support/eventually.js';
import { Scenario } from '../support/scenario.js';
import { outcome, startStillApp, Steps } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

describe('what a runner holds', () => {
  let app: TestApp;
  let user: Scenario;
  let steps: Steps;
  let running: RunningRuns;
  let agentId: string;
  let held: ClaimedRun[];
  const ttlMs = () => app.config.leaseTtlSec * 1000;

  beforeAll(async () => {
    app = await startStillApp();
    user = new Scenario(app.url);
    steps = new Steps(app);
    running = app.get(RunningRuns);
  });
  afterAll(() => app.close());
  beforeEach(async () => {
    await steps.clear();
    held = [];
    const fields = { runtimeConfig: { heartbeat: { maxConcurrentRuns: 100 } } };
    agentId = await user.agent(await user.company(), 'true', fields);
  });
  afterEach(() => held.forEach((run) => running.remove(run)));

  /** Executes runs as far as this process knows. */
  async function hold(count: number, deadline = bootClock() + ttlMs()): Promise<ClaimedRun[]> {
    for (let n = 0; n < count; n++) {
      await user.wake(agentId, { payload: { taskKey: String(held.length) } });
      const run = { ...(await steps.started()), deadline };
      running.add(run);
      held.push(run);
    }
    return held;
  }

  /** What is sent to the database meanwhile outside transactions, with how many rows each statement answers. */
  async function sent(work: () => Promise<unknown>): Promise<number[]> {
    const execute = jest.spyOn(app.get(EntityManager), 'execute');
    await work();
    const answers = await Promise.all(execute.mock.results.map(({ value }) => value as Promise<object[]>));
    execute.mockRestore();
    return answers.map((rows) => rows.length);
  }

  it.each([1, 12])('is renewed by one statement, which answers nothing: %i leases', async (count) => {
    await hold(count, bootClock() + ttlMs() / 2);
    expect(await sent(() => app.get(Renewer).tick())).toEqual([0]);
    for (const run of held) expect(running.msLeft(run)).toBeGreaterThan((ttlMs() * 9) / 10);
    expect(await sent(() => app.get(Renewer).tick())).toEqual([]);
  });

  it('loses what is not renewed, and nothing else', async () => {
    const [kept, lost] = await hold(2, bootClock() + ttlMs() / 2);
    await steps.end(lost, outcome.succeeded());
    expect(await sent(() => app.get(Renewer).tick())).toEqual([1]);
    expect(held.map((run) => running.isLost(run))).toEqual([false, true]);
    expect(running.msLeft(kept)).toBeGreaterThan(0);
  });

  it('is lost at its deadline, which a renewal moves', async () => {
    await hold(2);
    held.forEach((run) => running.remove(run));
    held = held.map((run) => ({ ...run, deadline: bootClock() + 300 }));
    held.forEach((run) => running.add(run));
    const [renewed, lost] = held;
    running.extend([renewed], bootClock() + ttlMs());
    await eventually(
      () => Promise.resolve(running.signalOf(lost)),
      ({ aborted }) => aborted,
    );
    expect(running.signalOf(lost).reason).toBe('lease_lost');
    expect(running.signalOf(renewed).aborted).toBe(false);
  });

  it('is renewed on its page: no index is written', async () => {
    const leases = (await hold(3)).map(({ lease }) => lease);
    const em = app.get(EntityManager);
    // With what the connection has done before and not reported yet.
    const counts = async () => {
      const [row] = await em.execute<{ updated: number; on_page: number }[]>(
        `select n_tup_upd::integer as updated, n_tup_hot_upd::integer as on_page from pg_stat_xact_user_tables
         where relname = 'environment_leases'`,
      );
      return row;
    };
    await inTransaction(em, async () => {
      const before = await counts();
      await app.get(RenewLeases).renew(leases, 3600);
      const after = await counts();
      expect([after.updated - before.updated, after.on_page - before.on_page]).toEqual([3, 3]);
    });
  });

  it('costs the reaper one statement as long as nothing is due', async () => {
    await hold(3);
    expect(await sent(() => app.get(ReapLeases).reap())).toEqual([0]);
  });

  describe('and may have to stop', () => {
    const look = () => app.get(DueStops).stop();
    const reasons = () => held.map((run) => running.signalOf(run).reason as unknown);

    it('is read once, and not again before it is due', async () => {
      await hold(3);
      expect(await sent(look)).toEqual([3]);
      expect(await sent(look)).toEqual([0]);
      expect(reasons()).toEqual([undefined, undefined, undefined]);
    });

    it('stops for a wish, of which alone is read then', async () => {
      const [run] = await hold(3);
      await look();
      await app.database.query(
        `update heartbeat_runs set cancel_requested_at = now(), cancel_at = now(), cancel_code = 'cancelled' where id = $1`,
        [run.id],
      );
      expect(await sent(look)).toEqual([1]);
      expect(reasons()).toEqual(['cancelled', undefined, undefined]);
    });

    it('stops at its time limit, seen coming', async () => {
      const [run] = await hold(2);
      await app.database.query(
        `update heartbeat_runs set deadline_at = clock_timestamp() + interval '300 ms' where id = $1`,
        [run.id],
      );
      await look();
      expect(reasons()).toEqual([undefined, undefined]);
      await eventually(look, () => running.signalOf(run).aborted);
      expect(reasons()).toEqual(['timed_out', undefined]);
    });

    it('stops when somebody else has ended it', async () => {
      const [run] = await hold(2);
      await look();
      await user.api.post(`/environment-leases/${run.lease.id}/release`, { force: true });
      await eventually(look, () => running.signalOf(run).aborted);
      expect(reasons()).toEqual(['lease_lost', undefined]);
    });
  });
});
