import { jest } from '@jest/globals';
import { anyDriverIsLocal, Fleet } from '../support/fleet.js';
import { HeldAdapter } from '../support/held-adapter.js';
import { Scenario } from '../support/scenario.js';
import { startTestApp, type TestApp } from '../support/test-app.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

/** How long a run of a race lasts. */
const RUN_MS = 20;

const AGENT = 'r.agent_id';
const COMPANY = 'r.company_id';
const WORKSPACE = '(select i.execution_workspace_id from issues i where i.id = r.issue_id)';

describe('several runners on one database', () => {
  let database: TestDatabase;
  let apps: TestApp[];
  let fleet: Fleet;
  let held: HeldAdapter;

  beforeAll(async () => {
    database = await createTestDatabase();
    apps = [];
    for (const roles of [['api', 'runner'], ['runner'], ['runner']] as const) {
      apps.push(await startTestApp({ config: { roles: new Set(roles), runnerSlots: 6 }, database }));
    }
  });
  afterAll(async () => {
    await Promise.all(apps.map((app) => app.close()));
    await database.close();
  });
  beforeEach(async () => {
    anyDriverIsLocal(...apps);
    held = new HeldAdapter(...apps);
    held.letGo(RUN_MS);
    fleet = new Fleet(apps[0], await new Scenario(apps[0].url).company());
  });
  afterEach(() => jest.restoreAllMocks());

  /** Queues while nothing can start there, so that all runners go for everything at once; waits until all have ended. */
  const race = async (environmentId: string, queue: () => Promise<unknown>) => {
    await fleet.user.api.post(`/environments/${environmentId}/drain`);
    await queue();
    expect(held.executed).toEqual([]);
    await fleet.user.api.post(`/environments/${environmentId}/activate`);
    await fleet.allEnded();
  };
  const local = async () => {
    const { body } = await fleet.user.api.get<{ id: string }[]>(`/companies/${fleet.companyId}/environments`);
    return body[0].id;
  };
  const outcomes = () =>
    database.query(
      `select r.status, r.claim_errors, count(*)::integer, sum(leases.count)::integer as leases
       from heartbeat_runs r
       cross join lateral (select count(*) from environment_leases l where l.heartbeat_run_id = r.id) leases
       where r.company_id = $1 group by 1, 2`,
      [fleet.companyId],
    );
  const allSucceeded = (count: number) => [{ status: 'succeeded', claim_errors: 0, count, leases: count }];

  it('execute each run once', async () => {
    const agents = [await fleet.agent(), await fleet.agent(), await fleet.agent()];
    await race(await local(), () => Promise.all(agents.map((agentId) => fleet.wake(agentId, 12))));
    expect(new Set(held.executed).size).toBe(36);
    expect(held.executed).toHaveLength(36);
    expect(await outcomes()).toEqual(allSucceeded(36));
  });

  it.each([1, 2])('keep an agent to its cap of %i', async (cap) => {
    const agents = [await fleet.agent(cap), await fleet.agent(cap)];
    await race(await local(), () => Promise.all(agents.map((agentId) => fleet.wake(agentId, 10))));
    expect(await outcomes()).toEqual(allSucceeded(20));
    expect(await fleet.mostAtOnce(AGENT)).toBe(cap);
  });

  it.each([1, 2])('keep a company to its cap of %i', async (cap) => {
    await fleet.user.api.patch(`/companies/${fleet.companyId}`, { maxConcurrentRuns: cap });
    const agents = await Promise.all(Array.from({ length: 5 }, () => fleet.agent()));
    await race(await local(), () => Promise.all(agents.map((agentId) => fleet.wake(agentId, 4))));
    expect(await outcomes()).toEqual(allSucceeded(20));
    expect(await fleet.mostAtOnce(COMPANY)).toBe(cap);
  });

  it('never share an exclusive workspace, and hold that against no run', async () => {
    const { environmentId, id: executionWorkspaceId } = await fleet.workspace('exclusive');
    const agents = await Promise.all(Array.from({ length: 6 }, () => fleet.agent()));
    await race(environmentId, () =>
      Promise.all(
        agents.map(async (agentId) => {
          for (let issue = 0; issue < 3; issue++) await fleet.wakeFor(agentId, { executionWorkspaceId });
        }),
      ),
    );
    expect(await outcomes()).toEqual(allSucceeded(18));
    expect(await fleet.mostAtOnce(WORKSPACE)).toBe(1);
  });

  it('share a shared one', async () => {
    const { environmentId, id: executionWorkspaceId } = await fleet.workspace('shared');
    const agents = await Promise.all(Array.from({ length: 4 }, () => fleet.agent()));
    held.letGo(500);
    await race(environmentId, () => Promise.all(agents.map((id) => fleet.wakeFor(id, { executionWorkspaceId }))));
    expect(await fleet.mostAtOnce(WORKSPACE)).toBeGreaterThan(1);
  });

  it('start nothing of a paused agent, and what it has queued once it is resumed', async () => {
    const [paused, other] = [await fleet.agent(), await fleet.agent()];
    const environmentId = await local();
    await fleet.user.api.post(`/environments/${environmentId}/drain`);
    const [waiting, meanwhile] = [await fleet.wake(paused, 5), await fleet.wake(other, 5)];
    await fleet.user.api.post(`/agents/${paused}/pause`, { drain: true });
    await fleet.user.api.post(`/environments/${environmentId}/activate`);
    await Promise.all(meanwhile.map((id) => fleet.user.ended(id)));
    expect(held.executed.toSorted()).toEqual(meanwhile.toSorted());
    await fleet.user.api.post(`/agents/${paused}/resume`);
    await Promise.all(waiting.map((id) => fleet.user.ended(id)));
    expect(await outcomes()).toEqual(allSucceeded(10));
  });
});
