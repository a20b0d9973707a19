import { jest } from '@jest/globals';
import { anyDriverIsLocal, Fleet } from '../support/fleet.js';
import { eventually } from '../support/eventually.js';
import { HeldAdapter } from '../support/held-adapter.js';
import { holdTransaction } from '../support/held-transaction.js';
import { Scenario } from '../support/scenario.js';
import { startTestApp, type TestApp } from '../support/test-app.js';
import { ProvisionService } from '../../src/heartbeat/claiming/provision.service.js';
import { AgentTurns } from '../../src/heartbeat/runs/agent-turns.js';
import { ExecutionServer } from '../../src/heartbeat/execution/execution.server.js';

/** No runner here: every dispatch is the test's own. */
describe('the next run', () => {
  let app: TestApp;
  let fleet: Fleet;
  let held: HeldAdapter;

  beforeAll(async () => void (app = await startTestApp({ config: { roles: new Set(['api']) } })));
  afterAll(() => app.close());
  beforeEach(async () => {
    anyDriverIsLocal(app);
    held = new HeldAdapter(app);
    fleet = new Fleet(app, await new Scenario(app.url).company());
  });
  afterEach(async () => {
    held.letGo();
    await app.database.query(`update heartbeat_runs set due_at = 'infinity' where status = 'queued'`);
    jest.restoreAllMocks();
  });

  const dispatch = () => app.get(ExecutionServer).dispatch();
  /** Dispatches until there is nothing to do, and answers whose runs were executed. */
  const order = async () => {
    const agents: string[] = [];
    held.letGo();
    for (let slot = await dispatch(); slot.run; slot = await dispatch()) agents.push(slot.run.agentId);
    return agents;
  };

  describe('is one that can start, whatever waits before it:', () => {
    /** Makes runs wait, and returns how to end the one that holds them up, if any. */
    const blockers: [what: string, block: () => Promise<unknown>][] = [
      [
        'for a draining environment',
        async () => {
          const environmentId = await fleet.create('environments', { name: 'full', driver: 'other' });
          for (let agent = 0; agent < 3; agent++) {
            await fleet.wake(await fleet.agent(5, { defaultEnvironmentId: environmentId }), 3);
          }
          await fleet.user.api.post(`/environments/${environmentId}/drain`);
        },
      ],
      [
        'for an exclusive workspace',
        async () => {
          const { id: executionWorkspaceId } = await fleet.workspace('exclusive');
          const first = await fleet.wakeFor(await fleet.agent(), { executionWorkspaceId });
          void dispatch();
          await fleet.user.reached(first, ['running']);
          for (let agent = 0; agent < 3; agent++) await fleet.wakeFor(await fleet.agent(), { executionWorkspaceId });
        },
      ],
      [
        'for an agent at its cap',
        async () => {
          const [first] = await fleet.wake(await fleet.agent(1), 8);
          void dispatch();
          await fleet.user.reached(first, ['running']);
        },
      ],
      [
        'for a company at its cap',
        async () => {
          const other = new Fleet(app, await fleet.user.company());
          await fleet.user.api.patch(`/companies/${other.companyId}`, { maxConcurrentRuns: 1 });
          const agents = await Promise.all(Array.from({ length: 4 }, () => other.agent()));
          const [first] = await other.wake(agents[0], 1);
          void dispatch();
          await fleet.user.reached(first, ['running']);
          for (const agentId of agents) await other.wake(agentId, 3);
        },
      ],
      [
        'for a paused agent',
        async () => {
          const agentId = await fleet.agent();
          await fleet.wake(agentId, 8);
          await fleet.user.api.post(`/agents/${agentId}/pause`, { drain: true });
        },
      ],
    ];
    it.each(blockers)('%s', async (_what, block) => {
      await block();
      const [id] = await fleet.wake(await fleet.agent(), 1);
      held.succeed(id);
      expect((await dispatch()).run?.id).toBe(id);
    });

    it("its own agent's runs for a draining environment", async () => {
      const environmentId = await fleet.create('environments', { name: 'full', driver: 'other' });
      const agentId = await fleet.agent(1);
      for (let run = 0; run < 4; run++) await fleet.wakeFor(agentId, { environmentId });
      await fleet.user.api.post(`/environments/${environmentId}/drain`);
      const [id] = await fleet.wake(agentId, 1);
      held.succeed(id);
      expect((await dispatch()).run?.id).toBe(id);
    });
  });

  it('is of the agent that has waited longest for its turn', async () => {
    const [busy, late] = [await fleet.agent(), await fleet.agent()];
    await fleet.wake(busy, 10);
    await fleet.wake(late, 4);
    const agents = await order();
    expect(agents.slice(0, 8).filter((agentId) => agentId === late)).toHaveLength(4);
    expect(agents).toHaveLength(14);
  });

  it('is there for every slot, though one agent has most of what waits', async () => {
    await fleet.wake(await fleet.agent(), 1);
    await fleet.wake(await fleet.agent(), 1);
    const busy = await fleet.agent(10);
    await fleet.wake(busy, 10);
    const slots = await Promise.all(Array.from({ length: 8 }, () => app.get(ProvisionService).provision()));
    expect(slots.filter((run) => run?.agentId === busy)).toHaveLength(6);
    expect(slots.filter((run) => run === null)).toHaveLength(0);
  });

  it('is there for every slot, though what is next wants room that one alone gets', async () => {
    const environmentId = await fleet.create('environments', { name: 'narrow', driver: 'other', capacity: 1 });
    for (let agent = 0; agent < 4; agent++) {
      await fleet.wake(await fleet.agent(5, { defaultEnvironmentId: environmentId }), 1);
    }
    for (let agent = 0; agent < 4; agent++) await fleet.wake(await fleet.agent(), 1);
    const slots = await Promise.all([1, 2].map(() => app.get(ProvisionService).provision()));
    expect(slots.filter((run) => run === null)).toHaveLength(0);
  });

  it('is what is being woken just then: wakes and starts of a process take turns', async () => {
    const soon = setTimeout;
    jest
      .spyOn(globalThis, 'setTimeout')
      .mockImplementation((work: () => void, ms?: number) => soon(work, ms === 50 ? 10_000 : ms));
    const agentId = await fleet.agent();
    const turns = app.get(AgentTurns);
    const leave = await turns.enter();
    const entering = jest.spyOn(turns, 'enter');
    const asked = (times: number) =>
      eventually(
        () => Promise.resolve(entering.mock.calls.length),
        (calls) => calls === times,
      );
    const woken = fleet.wake(agentId, 1);
    await asked(1);
    const started = app.get(ProvisionService).provision();
    await asked(2);
    leave();
    expect(await woken).toEqual([(await started)?.id]);
  });

  it('is left alone while somebody decides about its issue, if it can never start', async () => {
    const agentId = await fleet.agent();
    const id = await fleet.wakeFor(agentId, {});
    await app.database.query(`update agents set status = 'terminated' where id = $1`, [agentId]);
    const decider = await holdTransaction(
      app.database,
      `select 1 from issues where company_id = $1 for no key update`,
      [fleet.companyId],
    );
    expect((await dispatch()).run).toBeNull();
    expect((await fleet.user.run(id)).status).toBe('queued');
    await decider.commit();
    await dispatch();
    expect(await fleet.user.run(id)).toMatchObject({ status: 'failed', errorCode: 'agent_terminated' });
  });
});
