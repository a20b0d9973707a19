import { jest } from '@jest/globals';
import { EntityManager } from '@mikro-orm/postgresql';
import { HeldAdapter } from '../support/held-adapter.js';
import { holdTransaction } from '../support/held-transaction.js';
import { Scenario } from '../support/scenario.js';
import { startTestApp, type TestApp } from '../support/test-app.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { eventually } from '../support/eventually.js';
import { inTransaction } from '../../src/database/transaction.js';
import { DriverRegistry } from '../../src/environments/drivers/driver-registry.js';
import { ExecutionServer } from '../../src/heartbeat/execution.server.js';
import { Gate } from '../../src/heartbeat/gate.js';

/** What the tests of both parts do with a company. */
class Fleet {
  readonly user: Scenario;

  constructor(
    private readonly app: TestApp,
    readonly companyId: string,
  ) {
    this.user = new Scenario(app.url);
  }

  agent(maxConcurrentRuns = 5, fields: object = {}): Promise<string> {
    return this.user.agent(this.companyId, 'true', { runtimeConfig: { heartbeat: { maxConcurrentRuns } }, ...fields });
  }

  /** Queues runs of an agent; each is a task of its own. */
  async wake(agentId: string, count: number): Promise<string[]> {
    const ids = [];
    for (let task = 0; task < count; task++) {
      ids.push((await this.user.wake(agentId, { payload: { taskKey: `task ${task}` } })).id);
    }
    return ids;
  }

  async wakeFor(agentId: string, issue: object): Promise<string> {
    const issueId = await this.user.issue(this.companyId, issue);
    return (await this.user.wake(agentId, { payload: { issueId } })).id;
  }

  async create(path: string, body: object): Promise<string> {
    const answer = await this.user.api.post<{ id: string }>(`/companies/${this.companyId}/${path}`, body);
    expect(answer).toMatchObject({ status: 201 });
    return answer.body.id;
  }

  /** A workspace in an environment of its own. */
  async workspace(mode: string): Promise<{ id: string; environmentId: string }> {
    const environmentId = await this.create('environments', { name: mode, driver: 'other' });
    const id = await this.create('execution-workspaces', { environmentId, name: mode, mode, cwd: '/tmp' });
    return { id, environmentId };
  }

  async allEnded(): Promise<void> {
    const waiting = `select status from heartbeat_runs where company_id = $1 and status in ('queued', 'running')`;
    await eventually(
      () => this.app.database.query(waiting, [this.companyId]),
      (rows) => rows.length === 0,
    );
  }

  /** The most runs that were ever running at once, of those with the same value of an expression. */
  async mostAtOnce(same: string): Promise<number> {
    const [row] = await this.app.database.query<{ most: number }>(
      `with run as (select id, started_at, finished_at, ${same} as owner from heartbeat_runs r
         where r.company_id = $1 and started_at is not null)
       select coalesce(max(together), 0)::integer as most from (
         select count(*) as together from run a join run b on b.owner = a.owner
           and b.started_at <= a.started_at and a.started_at < coalesce(b.finished_at, 'infinity')
         group by a.id) at_each_start`,
      [this.companyId],
    );
    return row!.most;
  }
}

/** How long a run of a race lasts. */
const RUN_MS = 20;

const AGENT = 'r.agent_id';
const COMPANY = 'r.company_id';
const WORKSPACE = '(select i.execution_workspace_id from issues i where i.id = r.issue_id)';

/** More environments than one need more drivers than one: here each name stands for the same. */
function anyDriverIsLocal(...apps: TestApp[]): void {
  for (const app of apps) {
    const local = app.get(DriverRegistry).get('local');
    jest.spyOn(app.get(DriverRegistry), 'get').mockReturnValue(local);
  }
}

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
    fleet = new Fleet(apps[0]!, await new Scenario(apps[0]!.url).company());
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
    return body[0]!.id;
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
          const agentId = await fleet.agent(20, { defaultEnvironmentId: environmentId });
          await fleet.wake(agentId, 8);
          await fleet.user.api.post(`/environments/${environmentId}/drain`);
        },
      ],
      [
        'for an exclusive workspace',
        async () => {
          const { id: executionWorkspaceId } = await fleet.workspace('exclusive');
          const agentId = await fleet.agent(20);
          const first = await fleet.wakeFor(agentId, { executionWorkspaceId });
          void dispatch();
          await fleet.user.reached(first, ['running']);
          for (let run = 0; run < 8; run++) await fleet.wakeFor(agentId, { executionWorkspaceId });
        },
      ],
      [
        'for an agent at its cap',
        async () => {
          const [first] = await fleet.wake(await fleet.agent(1), 8);
          void dispatch();
          await fleet.user.reached(first!, ['running']);
        },
      ],
      [
        'for a company at its cap',
        async () => {
          const other = new Fleet(app, await fleet.user.company());
          await fleet.user.api.patch(`/companies/${other.companyId}`, { maxConcurrentRuns: 1 });
          const agents = await Promise.all(Array.from({ length: 4 }, () => other.agent()));
          const [first] = await other.wake(agents[0]!, 1);
          void dispatch();
          await fleet.user.reached(first!, ['running']);
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
      held.succeed(id!);
      expect((await dispatch()).run?.id).toBe(id);
    });

    it("its own agent's runs for a draining environment", async () => {
      const environmentId = await fleet.create('environments', { name: 'full', driver: 'other' });
      const agentId = await fleet.agent(1);
      for (let run = 0; run < 4; run++) await fleet.wakeFor(agentId, { environmentId });
      await fleet.user.api.post(`/environments/${environmentId}/drain`);
      const [id] = await fleet.wake(agentId, 1);
      held.succeed(id!);
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

  it('is not started past a cap that its company was given meanwhile', async () => {
    const [id] = await fleet.wake(await fleet.agent(), 1);
    const gate = app.get(Gate);
    const candidates = await gate.candidates(5);
    expect(candidates).toMatchObject([{ id, companyCapped: false }]);
    await fleet.user.api.patch(`/companies/${fleet.companyId}`, { maxConcurrentRuns: 1 });
    const entered = await inTransaction(app.get(EntityManager), () => gate.enter(candidates));
    expect(entered).toEqual([]);
    held.succeed(id!);
    expect((await dispatch()).run?.id).toBe(id);
  });
});
