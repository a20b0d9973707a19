import { jest } from '@jest/globals';
import { Nudge } from '../../src/heartbeat/execution/nudge.js';
import { Runner } from '../../src/heartbeat/execution/runner.js';
import { eventually } from '../support/eventually.js';
import { HeldAdapter } from '../support/held-adapter.js';
import { Scenario } from '../support/scenario.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

const SLOTS = 8;
const LONG_MS = 60_000;

/** A runner whose slots do not look by themselves: what starts, starts because they were woken. */
describe('the free slots of a runner', () => {
  let app: TestApp;
  let held: HeldAdapter;

  beforeAll(async () => {
    const since = Reflect.get(Nudge.prototype, 'since');
    jest.spyOn(Nudge.prototype, 'since').mockImplementation(function (this: Nudge, seen) {
      return since.call(this, seen, LONG_MS);
    });
    app = await startTestApp({ config: { roles: new Set(['api', 'runner']), runnerSlots: SLOTS } });
    held = new HeldAdapter(app);
  });
  afterAll(async () => {
    held.letGo();
    jest.restoreAllMocks();
    await app.close();
  });

  it('sleep on when one of them has taken all that there was', async () => {
    const user = new Scenario(app.url);
    const agentId = await user.agent(await user.company(), 'true');
    const wakes = jest.spyOn(Nudge.prototype, 'wake');
    const { id } = await user.wake(agentId);
    await eventually(
      async () => held.executed,
      (executed) => executed.includes(id),
    );
    // What comes in wakes one, what has to stop wakes all, and a start that leaves more to do some.
    expect(wakes.mock.calls.filter(([most]) => most > 1 && most < Infinity)).toEqual([]);
    held.succeed(id);
    await user.ended(id);
  });

  it('all take up work when one of them is woken and there is enough of it', async () => {
    const user = new Scenario(app.url);
    const companyId = await user.company();
    const runtimeConfig = { heartbeat: { maxConcurrentRuns: SLOTS } };
    const agentId = await user.agent(companyId, 'true', { runtimeConfig });
    await app.database.query(
      `insert into heartbeat_runs (id, company_id, agent_id, invocation_source, status)
       select gen_random_uuid(), $1, $2, 'on_demand', 'queued' from generate_series(1, $3)`,
      [companyId, agentId, SLOTS],
    );
    app.get(Runner).lookForStarts();
    await eventually(
      () => app.database.query(`select id from heartbeat_runs where agent_id = $1 and status = 'running'`, [agentId]),
      (running) => running.length === SLOTS,
    );
  });
});
