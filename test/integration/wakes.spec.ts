import { jest } from '@jest/globals';
import { RequestContext } from '@mikro-orm/core';
import { EntityManager } from '@mikro-orm/postgresql';
import type { Refusal } from '../support/api-client.js';
import { eventually } from '../support/eventually.js';
import { HeldAdapter } from '../support/held-adapter.js';
import { Scenario, type ActivityEntry, type Run } from '../support/scenario.js';
import { startTestApp, type TestApp } from '../support/test-app.js';
import { newId } from '../../src/database/id.js';
import { ExecutionServer } from '../../src/heartbeat/execution/execution.server.js';
import { WakeService } from '../../src/heartbeat/wakes/wake.service.js';
import { rounds } from '../support/rounds.js';
import { WAKES } from '../support/wakes.js';

interface WakeAnswer extends Run {
  reason: string | null;
  wakeupRequestId: string;
}

interface WakeRow {
  status: string;
  status_reason: string | null;
  coalesced_count: number;
  payload: Record<string, unknown>;
  run_id: string | null;
}

/** No runner here: every dispatch is the test's own. */
describe('a wake', () => {
  let app: TestApp;
  let user: Scenario;
  let held: HeldAdapter;
  let companyId: string;
  let agentId: string;

  beforeAll(async () => {
    app = await startTestApp({ config: { roles: new Set(['api']) } });
    user = new Scenario(app.url);
  });
  afterAll(() => app.close());
  beforeEach(async () => {
    held = new HeldAdapter(app);
    companyId = await user.company();
    agentId = await user.agent(companyId, 'true');
  });
  afterEach(async () => {
    held.letGo();
    await app.database.query(`update heartbeat_runs set due_at = 'infinity' where status = 'queued'`);
    jest.restoreAllMocks();
  });

  const dispatch = () => app.get(ExecutionServer).dispatch();
  /** Starts the queued run; the answer is when it has ended. */
  const start = async (runId: string): Promise<{ done: Promise<unknown> }> => {
    const done = dispatch();
    await user.reached(runId, ['running']);
    return { done };
  };
  const wake = async (body: object = {}, agent = agentId) => (await user.wake(agent, body)) as WakeAnswer;
  const attempt = (body: object = {}, agent = agentId, api = user.api) =>
    api.post<WakeAnswer & Refusal>(`/agents/${agent}/wakeup`, body);
  const row = async (wakeupRequestId: string) =>
    (await app.database.query<WakeRow>(`select * from ${WAKES} where id = $1`, [wakeupRequestId]))[0];
  const actions = async () => {
    const { body } = await user.api.get<ActivityEntry[]>(`/companies/${companyId}/activity`);
    return body
      .map(({ action }) => action)
      .filter((action) => action.startsWith('heartbeat.'))
      .reverse();
  };
  const asAgent = async (id = agentId) => {
    const { body } = await user.api.post<{ token: string }>(`/agents/${id}/keys`, { name: 'k' });
    return user.api.as(body.token);
  };
  const runsOf = (issueId: string) =>
    app.database.query<{ id: string; status: string; agent_id: string }>(
      'select id, status, agent_id from heartbeat_runs where issue_id = $1 order by id',
      [issueId],
    );

  describe('becomes a run', () => {
    it('that is queued and knows why', async () => {
      const answer = await wake({ reason: 'a storm', payload: { taskKey: 'sail', depth: 3 } });
      expect(answer).toMatchObject({
        status: 'queued',
        wakeStatus: 'queued',
        agentId,
        contextSnapshot: {
          source: 'on_demand',
          triggerDetail: 'manual',
          wakeReason: 'a storm',
          wakeReasons: ['a storm'],
          taskKey: 'sail',
          payload: { depth: 3 },
        },
      });
      expect(await row(answer.wakeupRequestId)).toMatchObject({ status: 'queued', run_id: answer.id });
      expect(await actions()).toEqual(['heartbeat.invoked']);
    });

    it('of the issue that it names, by id or identifier', async () => {
      const issueId = await user.issue(companyId);
      const { body: issue } = await user.api.get<{ identifier: string }>(`/issues/${issueId}`);
      expect(await wake({ payload: { issueId: issue.identifier } })).toMatchObject({
        issueId,
        contextSnapshot: { issueId },
      });
      expect((await user.api.get<{ executionRunId: string }>(`/issues/${issueId}`)).body.executionRunId).not.toBeNull();
    });

    it('over `heartbeat/invoke` with no body at all', async () => {
      const answer = await fetch(`${app.url}/api/agents/${agentId}/heartbeat/invoke`, { method: 'POST' });
      expect(answer.status).toBe(202);
      expect(await answer.json()).toMatchObject({ status: 'queued', invocationSource: 'on_demand' });
    });

    it('that says that nobody called when nobody did', async () => {
      expect(await wake({ source: 'automation' })).toMatchObject({ status: 'queued', invocationSource: 'automation' });
      expect(await actions()).toEqual(['heartbeat.queued']);
    });
  });

  describe('joins the queued run of its agent', () => {
    it('for the same task', async () => {
      const first = await wake({ reason: 'one', payload: { taskKey: 'sail' } });
      const second = await wake({ reason: 'two', payload: { taskKey: 'sail', knots: 12 } });
      expect(second).toMatchObject({ id: first.id, status: 'queued', wakeStatus: 'coalesced' });
      expect(second.contextSnapshot).toMatchObject({ wakeReason: 'one', wakeReasons: ['one', 'two'], taskKey: 'sail' });
      expect(await row(second.wakeupRequestId)).toMatchObject({
        status: 'coalesced',
        status_reason: 'run_already_queued',
        run_id: first.id,
      });
      expect(await actions()).toEqual(['heartbeat.invoked', 'heartbeat.coalesced']);
    });

    it('but not for another task, or one with an issue', async () => {
      const issueId = await user.issue(companyId);
      const runs = [await wake(), await wake({ payload: { taskKey: 'sail' } }), await wake({ payload: { issueId } })];
      expect(runs.map(({ wakeStatus }) => wakeStatus)).toEqual(['queued', 'queued', 'queued']);
      expect(new Set(runs.map(({ id }) => id)).size).toBe(3);
    });

    it('on the issue, with its comments in order and once each', async () => {
      const issueId = await user.issue(companyId);
      const comments = [];
      for (const body of ['a', 'b', 'c']) {
        comments.push((await user.api.post<{ id: string }>(`/issues/${issueId}/comments`, { body })).body.id);
      }
      const [a, b, c] = comments;
      const first = await wake({ payload: { issueId, commentId: a } });
      for (const commentId of [b, a, c, b]) {
        expect(await wake({ payload: { issueId, commentId } })).toMatchObject({
          id: first.id,
          wakeStatus: 'coalesced',
        });
      }
      const run = await user.run(first.id);
      expect(run.contextSnapshot).toMatchObject({ wakeCommentIds: [a, b, c], wakeCommentId: c });
      expect(await runsOf(issueId)).toHaveLength(1);
    });

    it('and not one that runs already', async () => {
      const first = await wake();
      const { done } = await start(first.id);
      expect(await wake()).toMatchObject({ status: 'queued', wakeStatus: 'queued' });
      held.letGo();
      await done;
    });
  });

  describe('waits for the run that works on its issue', () => {
    let issueId: string;
    let working: WakeAnswer;
    let other: string;
    beforeEach(async () => {
      issueId = await user.issue(companyId);
      other = await user.agent(companyId, 'true');
      working = await wake({ payload: { issueId } });
    });
    const waits = (reason: string | null = null, agent = other) => wake({ reason, payload: { issueId } }, agent);

    it('when another agent has it queued or running', async () => {
      const answer = await waits();
      expect(answer).toMatchObject({
        id: working.id,
        status: 'deferred_issue_execution',
        reason: 'issue_has_live_run',
      });
      expect(await row(answer.wakeupRequestId)).toMatchObject({ status: 'deferred_issue_execution', run_id: null });
      const { done } = await start(working.id);
      expect(await waits(null, await user.agent(companyId, 'true'))).toMatchObject({
        status: 'deferred_issue_execution',
      });
      expect(await actions()).toEqual([
        'heartbeat.invoked',
        'heartbeat.deferred',
        'heartbeat.started',
        'heartbeat.deferred',
      ]);
      held.letGo();
      await done;
    });

    it('when its own agent is running it', async () => {
      const { done } = await start(working.id);
      expect(await waits(null, agentId)).toMatchObject({ id: working.id, status: 'deferred_issue_execution' });
      held.letGo();
      await done;
    });

    it('in one row for an agent, with every reason', async () => {
      const first = await waits('one');
      const second = await waits('two');
      expect(second.wakeupRequestId).toBe(first.wakeupRequestId);
      expect(await row(first.wakeupRequestId)).toMatchObject({
        coalesced_count: 1,
        payload: { wakeReasons: ['one', 'two'] },
      });
      const rows = `select 1 from agent_wakeup_requests where issue_id = $1 and status = 'deferred_issue_execution'`;
      expect(await app.database.query(rows, [issueId])).toHaveLength(1);
    });

    const ends: [how: string, end: () => Promise<unknown>, status: string][] = [
      [
        'succeeds',
        async () => {
          held.succeed(working.id);
          await dispatch();
        },
        'succeeded',
      ],
      [
        'fails',
        async () => {
          held.fail(working.id);
          await dispatch();
        },
        'failed',
      ],
      ['is cancelled while it is queued', () => user.api.post(`/heartbeat-runs/${working.id}/cancel`), 'cancelled'],
      [
        'is released by force',
        async () => {
          const { done } = await start(working.id);
          await user.api.post(`/heartbeat-runs/${working.id}/leases/release`, { force: true });
          held.letGo();
          await done;
        },
        'cancelled',
      ],
      [
        'is cancelled and reaped',
        async () => {
          const { done } = await start(working.id);
          await user.api.post(`/heartbeat-runs/${working.id}/cancel`);
          await app.database.query(
            `update environment_leases set expires_at = acquired_at + interval '1 millisecond' where heartbeat_run_id = $1`,
            [working.id],
          );
          await user.ended(working.id);
          held.letGo();
          await done;
        },
        'cancelled',
      ],
      [
        'can never start',
        async () => {
          await app.database.query(`update agents set status = 'terminated' where id = $1`, [agentId]);
          await dispatch();
        },
        'failed',
      ],
    ];
    it.each(ends)('and becomes a run when that %s', async (_how, end, status) => {
      const waiting = await waits('later');
      await end();
      const [ended, promoted] = await runsOf(issueId);
      expect(ended).toMatchObject({ id: working.id, status });
      expect(promoted).toMatchObject({ agent_id: other, status: 'queued' });
      expect(await row(waiting.wakeupRequestId)).toMatchObject({ status: 'queued', run_id: promoted.id });
      expect((await user.run(promoted.id)).contextSnapshot).toMatchObject({ wakeReason: 'later', issueId });
    });

    it('until the retry of a lost run has ended too', async () => {
      const waiting = await waits();
      const { done } = await start(working.id);
      await app.database.query(
        `update environment_leases set expires_at = acquired_at + interval '1 millisecond' where heartbeat_run_id = $1`,
        [working.id],
      );
      await user.ended(working.id);
      held.letGo();
      await done;
      const [lost, retry] = await runsOf(issueId);
      expect(lost).toMatchObject({ status: 'failed' });
      expect(retry).toMatchObject({ agent_id: agentId, status: 'queued' });
      expect(await row(waiting.wakeupRequestId)).toMatchObject({ status: 'deferred_issue_execution' });
      await dispatch();
      expect(await row(waiting.wakeupRequestId)).toMatchObject({ status: 'queued' });
    });

    it('in turn, the oldest first', async () => {
      const third = await user.agent(companyId, 'true');
      const [first, second] = [await waits(), await waits(null, third)];
      held.letGo();
      await dispatch();
      expect(await row(first.wakeupRequestId)).toMatchObject({ status: 'queued' });
      expect(await row(second.wakeupRequestId)).toMatchObject({ status: 'deferred_issue_execution' });
      await dispatch();
      expect(await row(second.wakeupRequestId)).toMatchObject({ status: 'queued' });
    });

    it.each([
      ['its agent is terminated by then', () => user.api.post(`/agents/${other}/terminate`)],
      ['its issue is done by then', () => user.api.patch(`/issues/${issueId}`, { status: 'done' })],
    ])('and comes to nothing, with the reason, when %s', async (_when, change) => {
      const waiting = await waits();
      await change();
      held.letGo();
      await dispatch();
      const ended = await row(waiting.wakeupRequestId);
      expect(ended.status).toMatch(/skipped|cancelled/);
      expect(ended.status_reason).not.toBeNull();
      expect((await runsOf(issueId)).filter(({ status }) => status === 'queued')).toEqual([]);
    });
  });

  describe('comes to nothing', () => {
    const skipped = async (reason: string, body: object = {}, api = user.api) => {
      const answer = await attempt(body, agentId, api);
      expect(answer).toMatchObject({ status: 202, body: { status: 'skipped', reason } });
      expect(answer.body.id).toBeUndefined();
      expect(await row(answer.body.wakeupRequestId)).toMatchObject({
        status: 'skipped',
        status_reason: reason,
        run_id: null,
      });
      expect(await actions()).toEqual(['heartbeat.skipped']);
      expect(await app.database.query('select 1 from heartbeat_runs where agent_id = $1', [agentId])).toEqual([]);
    };

    it('for an agent that wakes itself while it is paused', async () => {
      const self = await asAgent();
      await user.api.post(`/agents/${agentId}/pause`);
      await skipped('agent_paused', {}, self);
    });

    it('for a timer that is off', () => skipped('timer_disabled', { source: 'timer' }));

    it('for an agent that only its timer wakes', async () => {
      await user.api.patch(`/agents/${agentId}`, { runtimeConfig: { heartbeat: { wakeOnDemand: false } } });
      await skipped('wake_on_demand_disabled');
    });
  });

  describe('is refused', () => {
    const refused = async (status: number, code: string, act: Promise<{ status: number; body: Refusal }>) => {
      expect(await act).toMatchObject({ status, body: { code, error: expect.any(String) } });
      expect(await app.database.query(`select 1 from ${WAKES} where agent_id = $1`, [agentId])).toEqual([]);
    };

    it('to a person, for a paused agent', async () => {
      await user.api.post(`/agents/${agentId}/pause`);
      await refused(409, 'agent_paused', attempt());
    });

    it('for a terminated agent', async () => {
      await user.api.post(`/agents/${agentId}/terminate`);
      await refused(409, 'agent_terminated', attempt());
    });

    it('for an agent of an archived company', async () => {
      await user.api.post(`/companies/${companyId}/archive`);
      await refused(409, 'company_archived', attempt());
    });

    it('to another agent of the company', async () => {
      const other = await asAgent(await user.agent(companyId, 'true'));
      await refused(403, 'wake_others_forbidden', attempt({}, agentId, other));
    });

    it("to another company's agent, as if there were no such agent", async () => {
      const stranger = await asAgent(await user.agent(await user.company(), 'true'));
      await refused(404, 'not_found', attempt({}, agentId, stranger));
      await refused(404, 'not_found', attempt({}, newId(), user.api));
    });

    it('for an issue that its company does not have', async () => {
      const elsewhere = await user.issue(await user.company());
      for (const issueId of [newId(), elsewhere, 'NO-1']) {
        await refused(422, 'unknown_issue', attempt({ payload: { issueId } }));
      }
    });
  });

  it('leaves nothing in the unit of work of who asks for it, which is not the only one in its batch', async () => {
    const em = app.get(EntityManager);
    await RequestContext.create(em, async () => {
      const asked = { agentId, source: 'on_demand', triggerDetail: null, reason: null, payload: {} } as const;
      expect(await app.get(WakeService).wake(asked)).toMatchObject({ status: 'queued' });
      expect([...em.getUnitOfWork().getIdentityMap()]).toEqual([]);
    });
  });

  it('of an agent by itself is its own act', async () => {
    expect(await attempt({}, agentId, await asAgent())).toMatchObject({ status: 202, body: { status: 'queued' } });
    const { body } = await user.api.get<ActivityEntry[]>(`/companies/${companyId}/activity?action=heartbeat.invoked`);
    expect(body).toMatchObject([{ actorType: 'agent', actorId: agentId }]);
  });

  describe('sent twice with one key', () => {
    it.each(['header', 'body'])('is one wake (key in the %s)', async (where) => {
      const api = where === 'header' ? user.api.with({ 'idempotency-key': 'k' }) : user.api;
      const body = { reason: 'once', ...(where === 'body' ? { idempotencyKey: 'k' } : {}) };
      const first = await attempt(body, agentId, api);
      const second = await attempt(body, agentId, api);
      expect(first.status).toBe(202);
      expect(second).toMatchObject({ status: first.status, body: first.body });
      expect(await actions()).toEqual(['heartbeat.invoked']);
      expect(await attempt({ ...body, reason: 'other' }, agentId, api)).toMatchObject({
        status: 409,
        body: { code: 'idempotency_key_reused' },
      });
    });

    it('at the same moment too', async () => {
      const answers = await Promise.all(Array.from({ length: 4 }, () => attempt({ idempotencyKey: 'k' })));
      expect(new Set(answers.map(({ body }) => body.wakeupRequestId)).size).toBe(1);
      expect(await actions()).toEqual(['heartbeat.invoked']);
    });
  });

  it('and another at the same moment make one live run on an issue', async () => {
    const other = await user.agent(companyId, 'true');
    for (let round = 0; round < rounds(20); round++) {
      const payload = { issueId: await user.issue(companyId) };
      const answers = await Promise.all([wake({ payload }), wake({ payload }, round % 2 ? other : agentId)]);
      expect(answers.map(({ wakeStatus }) => wakeStatus).toSorted()).toEqual([
        round % 2 ? 'deferred_issue_execution' : 'coalesced',
        'queued',
      ]);
      expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
      expect(await runsOf(payload.issueId)).toHaveLength(1);
    }
  });

  it('and another at the same moment make one run of a task', async () => {
    for (let round = 0; round < rounds(10); round++) {
      const payload = { taskKey: `task ${round}` };
      const answers = await Promise.all([wake({ payload }), wake({ payload })]);
      expect(answers.map(({ wakeStatus }) => wakeStatus).toSorted()).toEqual(['coalesced', 'queued']);
      expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
    }
  });

  it('is not lost when the run that it would join ends at the same moment', async () => {
    const other = await user.agent(companyId, 'true');
    for (let round = 0; round < rounds(10); round++) {
      const payload = { issueId: await user.issue(companyId) };
      const { id } = await wake({ payload });
      const [answer] = await Promise.all([wake({ payload }, other), user.api.post(`/heartbeat-runs/${id}/cancel`)]);
      expect(['queued', 'deferred_issue_execution']).toContain(answer.wakeStatus);
      const live = await eventually(
        async () => (await runsOf(payload.issueId)).filter(({ status }) => status === 'queued'),
        (runs) => runs.length > 0,
      );
      expect(live).toMatchObject([{ agent_id: other }]);
    }
  });
});
