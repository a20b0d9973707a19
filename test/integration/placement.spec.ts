import { jest } from '@jest/globals';
import { ThisHost } from '../../src/environments/this-host.js';
import { HeldAdapter } from '../support/held-adapter.js';
import { Scenario } from '../support/scenario.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';
import { DriverRegistry } from '../../src/environments/drivers/driver-registry.js';
import { ExecutionServer } from '../../src/heartbeat/execution/execution.server.js';

interface Placement {
  status: string;
  environment: { id: string; name: string } | null;
  leaseId: string | null;
  decidedBy: string;
  waitingReason: { code: string; message: string; scope: { type: string; id: string } | null } | null;
}

/** No runner here: every dispatch is the test's own. */
describe('where a run goes', () => {
  let app: TestApp;
  let user: Scenario;
  let held: HeldAdapter;
  let companyId: string;

  beforeAll(async () => {
    app = await startStillApp();
    user = new Scenario(app.url);
  });
  afterAll(() => app.close());
  beforeEach(async () => {
    // More environments than one need more drivers than one: here each name stands for the same.
    const local = app.get(DriverRegistry).get('local');
    jest.spyOn(app.get(DriverRegistry), 'get').mockReturnValue(local);
    held = new HeldAdapter(app);
    companyId = await user.company();
  });
  afterEach(async () => {
    held.letGo();
    await app.database.query(`update heartbeat_runs set due_at = 'infinity' where status = 'queued'`);
    jest.restoreAllMocks();
  });

  const dispatch = () => app.get(ExecutionServer).dispatch();
  const created = async (path: string, body: object) => {
    const answer = await user.api.post<{ id: string }>(`/companies/${companyId}/${path}`, body);
    expect(answer).toMatchObject({ status: 201 });
    return answer.body.id;
  };
  const environment = (name: string) => created('environments', { name, driver: 'other' });
  const workspace = (environmentId: string, name: string, mode = 'shared') =>
    created('execution-workspaces', { environmentId, name, mode, cwd: '/tmp' });
  const placement = async (runId: string) => {
    const answer = await user.api.get<Placement>(`/heartbeat-runs/${runId}/placement`);
    expect(answer.status).toBe(200);
    return answer.body;
  };
  /** Wakes an agent for an issue, both with these fields. */
  const wake = async ({ issue = {}, agent = {} }: { issue?: object; agent?: object }) => {
    const agentId = await user.agent(companyId, 'true', { ...agent });
    return user.wake(agentId, { payload: { issueId: await user.issue(companyId, issue) } });
  };

  describe('is decided by the first reference that is set', () => {
    /** Every reference set, each to a place of its own. */
    const references = async () => {
      const [ofIssue, ofWorkspace, ofAgent, ofCompany] = [
        await environment('of issue'),
        await environment('of workspace'),
        await environment('of agent'),
        await environment('of company'),
      ];
      await user.api.patch(`/companies/${companyId}`, { defaultEnvironmentId: ofCompany });
      const executionWorkspaceId = await workspace(ofWorkspace, 'w');
      return { ofIssue, executionWorkspaceId, ofAgent };
    };

    it.each([
      ['issue', 'of issue'],
      ['workspace', 'of workspace'],
      ['agent', 'of agent'],
      ['company', 'of company'],
    ])('%s', async (decidedBy, name) => {
      const { ofIssue, executionWorkspaceId, ofAgent } = await references();
      const { id } = await wake({
        issue: {
          ...(decidedBy === 'issue' ? { environmentId: ofIssue } : {}),
          ...(decidedBy === 'workspace' ? { executionWorkspaceId } : {}),
        },
        agent: decidedBy === 'company' ? {} : { defaultEnvironmentId: ofAgent },
      });
      expect(await placement(id)).toMatchObject({ decidedBy, environment: { name } });
      held.succeed(id);
      await dispatch();
      expect(await user.run(id)).toMatchObject({ contextSnapshot: { paperclipEnvironment: { name, decidedBy } } });
      const { leaseId } = await placement(id);
      expect(await user.leases(id)).toMatchObject([
        { id: leaseId, environmentId: (await placement(id)).environment!.id },
      ]);
    });

    it('and otherwise Local', async () => {
      const { id } = await user.wake(await user.agent(companyId, 'true'));
      expect(await placement(id)).toMatchObject({ decidedBy: 'default', environment: null });
      held.succeed(id);
      await dispatch();
      expect(await placement(id)).toMatchObject({ decidedBy: 'default', environment: { name: 'Local' } });
    });

    it('and stays decided when the references change', async () => {
      const { id } = await wake({ agent: { defaultEnvironmentId: await environment('of agent') } });
      held.succeed(id);
      const { run } = await dispatch();
      await user.api.patch(`/agents/${run!.agentId}`, { defaultEnvironmentId: null });
      expect(await placement(id)).toMatchObject({ decidedBy: 'agent', environment: { name: 'of agent' } });
    });

    it('with the workspace of the issue in the lease and in what the run is told', async () => {
      const executionWorkspaceId = await workspace(await environment('site'), 'w', 'exclusive');
      const { id } = await wake({ issue: { executionWorkspaceId } });
      held.succeed(id);
      const { run } = await dispatch();
      expect(run!.workspace).toEqual({ id: executionWorkspaceId, cwd: '/tmp' });
      expect(await user.leases(id)).toMatchObject([{ executionWorkspaceId }]);
      expect(await user.run(id)).toMatchObject({
        contextSnapshot: { paperclipEnvironment: { workspace: { id: executionWorkspaceId, cwd: '/tmp' } } },
      });
    });
  });

  describe('fails the run, and falls through to no other place,', () => {
    const expectRefused = async (runId: string, errorCode: string) => {
      expect((await dispatch()).run).toBeNull();
      expect(await user.run(runId)).toMatchObject({ status: 'failed', errorCode, startedAt: null });
      expect(await user.leases(runId)).toEqual([]);
      expect(await user.actions(companyId, runId)).toEqual(['heartbeat.invoked', 'heartbeat.failed']);
      expect(held.executed).toEqual([]);
    };
    const refer = async (from: string, environmentId: string) => {
      if (from === 'issue') return wake({ issue: { environmentId } });
      if (from === 'workspace') return wake({ issue: { executionWorkspaceId: await workspace(environmentId, 'w') } });
      if (from === 'agent') return wake({ agent: { defaultEnvironmentId: environmentId } });
      await user.api.patch(`/companies/${companyId}`, { defaultEnvironmentId: environmentId });
      return wake({});
    };

    it.each(['issue', 'workspace', 'agent', 'company'])('where the environment of its %s is archived', async (from) => {
      const environmentId = await environment('site');
      const { id } = await refer(from, environmentId);
      await user.api.post(`/environments/${environmentId}/archive`);
      await expectRefused(id, 'environment_archived');
    });

    it.each(['issue', 'agent'])('where the environment of its %s was deleted', async (from) => {
      const environmentId = await environment('site');
      const { id } = await refer(from, environmentId);
      expect((await user.api.delete(`/environments/${environmentId}`)).status).toBeLessThan(300);
      await expectRefused(id, 'environment_deleted');
    });

    it('where the workspace is archived', async () => {
      const executionWorkspaceId = await workspace(await environment('site'), 'w');
      const { id } = await wake({ issue: { executionWorkspaceId } });
      await user.api.patch(`/execution-workspaces/${executionWorkspaceId}`, { status: 'archived' });
      await expectRefused(id, 'workspace_archived');
    });

    it('where environment and workspace of the issue are in different places', async () => {
      const executionWorkspaceId = await workspace(await environment('here'), 'w');
      const { id } = await wake({ issue: { executionWorkspaceId, environmentId: await environment('there') } });
      await expectRefused(id, 'workspace_elsewhere');
    });

    it.each([
      ['the company was archived', 'company_archived', () => user.api.post(`/companies/${companyId}/archive`)],
      [
        'the company was archived, its agent being paused',
        'company_archived',
        async (agentId: string) => {
          await user.api.post(`/agents/${agentId}/pause`, { drain: true });
          await user.api.post(`/companies/${companyId}/archive`);
        },
      ],
      [
        'the agent is terminated',
        'agent_terminated',
        (agentId: string) => user.api.post(`/agents/${agentId}/terminate`),
      ],
    ])('where %s, without making a Local for it', async (_name, errorCode, end) => {
      const agentId = await user.agent(companyId, 'true');
      const { id } = await user.wake(agentId);
      // The wish may be ended with its agent already; then there is nothing left to refuse.
      await end(agentId);
      await dispatch();
      expect(await user.leases(id)).toEqual([]);
      expect((await user.run(id)).status).toMatch(/failed|cancelled/);
      if ((await user.run(id)).status === 'failed') expect((await user.run(id)).errorCode).toBe(errorCode);
      const environments = 'select name from environments where company_id = $1';
      expect(await app.database.query(environments, [companyId])).toEqual([]);
    });
  });

  describe('is waited for, with the reason,', () => {
    it('while the environment is draining', async () => {
      const environmentId = await environment('site');
      const { id } = await wake({ agent: { defaultEnvironmentId: environmentId } });
      await user.api.post(`/environments/${environmentId}/drain`);
      expect((await dispatch()).run).toBeNull();
      expect(await placement(id)).toMatchObject({
        status: 'queued',
        leaseId: null,
        decidedBy: 'agent',
        waitingReason: { code: 'environment_draining', scope: { type: 'environment', id: environmentId } },
      });
      await user.api.post(`/environments/${environmentId}/activate`);
      expect((await placement(id)).waitingReason!.code).toBe('no_runner');
      held.succeed(id);
      expect((await dispatch()).run!.id).toBe(id);
      expect((await placement(id)).waitingReason).toBeNull();
    });

    it('while Local is draining', async () => {
      const environments = await user.api.get<{ id: string }[]>(`/companies/${companyId}/environments`);
      const { id } = await user.wake(await user.agent(companyId, 'true'));
      await user.api.post(`/environments/${environments.body[0].id}/drain`);
      expect((await dispatch()).run).toBeNull();
      expect(await placement(id)).toMatchObject({
        decidedBy: 'default',
        environment: { name: 'Local' },
        waitingReason: { code: 'environment_draining', message: 'The environment "Local" is draining' },
      });
    });

    it('while the agent is paused', async () => {
      const agentId = await user.agent(companyId, 'true');
      const { id } = await user.wake(agentId);
      await user.api.post(`/agents/${agentId}/pause`, { drain: true });
      expect((await dispatch()).run).toBeNull();
      expect(await placement(id)).toMatchObject({
        waitingReason: { code: 'agent_paused', scope: { type: 'agent', id: agentId } },
      });
    });

    it('while the agent is at its cap', async () => {
      const agentId = await user.agent(companyId, 'true', { runtimeConfig: { heartbeat: { maxConcurrentRuns: 1 } } });
      const first = await user.wake(agentId, { payload: { taskKey: 'first' } });
      const second = await user.wake(agentId, { payload: { taskKey: 'second' } });
      const done = dispatch();
      await user.reached(first.id, ['running']);
      expect((await dispatch()).run).toBeNull();
      expect(await placement(second.id)).toMatchObject({
        waitingReason: {
          code: 'agent_at_capacity',
          message: `The agent is at its cap: 1 of 1, held by run ${first.id}`,
        },
      });
      held.succeed(first.id);
      await done;
    });

    it('while the company is at its cap', async () => {
      await user.api.patch(`/companies/${companyId}`, { maxConcurrentRuns: 1 });
      const first = await user.wake(await user.agent(companyId, 'true'));
      const second = await user.wake(await user.agent(companyId, 'true'));
      const done = dispatch();
      await user.reached(first.id, ['running']);
      expect((await dispatch()).run).toBeNull();
      expect(await placement(second.id)).toMatchObject({
        waitingReason: { code: 'company_at_capacity', scope: { type: 'company', id: companyId } },
      });
      held.succeed(first.id);
      await done;
    });

    it('while the exclusive workspace is in use', async () => {
      const executionWorkspaceId = await workspace(await environment('site'), 'w', 'exclusive');
      const first = await wake({ issue: { executionWorkspaceId } });
      const second = await wake({ issue: { executionWorkspaceId } });
      const done = dispatch();
      await user.reached(first.id, ['running']);
      expect((await dispatch()).run).toBeNull();
      expect(await placement(second.id)).toMatchObject({
        waitingReason: {
          code: 'workspace_occupied',
          message: `The exclusive workspace "w" is in use: 1 of 1, held by run ${first.id}`,
          scope: { type: 'workspace', id: executionWorkspaceId },
        },
      });
      held.letGo();
      await done;
      expect((await dispatch()).run!.id).toBe(second.id);
    });

    it('while no runner is on the host that the workspace belongs to', async () => {
      const executionWorkspaceId = await workspace(await environment('site'), 'w');
      const bind = (host: string) =>
        app.database.query('update execution_workspaces set host = $2 where id = $1', [executionWorkspaceId, host]);
      await bind('another-host');
      const { id } = await wake({ issue: { executionWorkspaceId } });
      expect((await dispatch()).run).toBeNull();
      expect(await placement(id)).toMatchObject({
        waitingReason: { code: 'workspace_host_away', scope: { type: 'workspace', id: executionWorkspaceId } },
      });
      await bind(app.get(ThisHost).id);
      held.succeed(id);
      expect((await dispatch()).run!.id).toBe(id);
    });

    it('until it is due', async () => {
      const { id } = await user.wake(await user.agent(companyId, 'true'));
      await app.database.query(`update heartbeat_runs set due_at = now() + interval '1 hour' where id = $1`, [id]);
      expect((await dispatch()).run).toBeNull();
      expect((await placement(id)).waitingReason!.code).toBe('not_due');
    });
  });

  it('is nobody else to see', async () => {
    const { id } = await user.wake(await user.agent(companyId, 'true'));
    const stranger = await user.agent(await user.company(), 'true');
    const key = await user.api.post<{ token: string }>(`/agents/${stranger}/keys`, { name: 'k' });
    expect((await user.api.as(key.body.token).get(`/heartbeat-runs/${id}/placement`)).status).toBe(404);
  });
});
