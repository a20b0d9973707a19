import { WakePayloads } from '../../src/heartbeat/wakes/wake-payloads.js';
import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import type { ApiClient } from '../support/api-client.js';
import { Scenario, type ActivityEntry } from '../support/scenario.js';
import { outcome, startStillApp, Steps } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';
import { WAKES } from '../support/wakes.js';

interface WakeRow {
  agent_id: string;
  source: string;
  reason: string;
  status: string;
  status_reason: string | null;
  comments: string[];
}

interface Inlined {
  id: string;
  body: string;
  truncated: boolean;
}

describe('an issue', () => {
  let app: TestApp;
  let user: Scenario;
  let steps: Steps;
  let companyId: string;
  let anna: string;
  let bela: string;

  beforeAll(async () => {
    app = await startStillApp();
    user = new Scenario(app.url);
    steps = new Steps(app);
  });
  afterAll(() => app.close());
  beforeEach(async () => {
    await steps.clear();
    companyId = await user.company();
    anna = await user.agent(companyId, 'true', { name: 'anna' });
    bela = await user.agent(companyId, 'true', { name: 'bela' });
  });

  const wakes = (issueId: string) =>
    app.database.query<WakeRow>(
      `select agent_id, source, reason, status, status_reason,
         coalesce(payload -> 'wakeCommentIds', jsonb_build_array(payload -> 'commentId') - 'null') as comments
       from ${WAKES} where issue_id = $1 order by id`,
      [issueId],
    );
  const runs = (issueId: string) =>
    app.database.query<{ id: string; agent_id: string; status: string; reasons: string[]; comments: string[] | null }>(
      `select id, agent_id, status, context_snapshot -> 'wakeReasons' as reasons,
         context_snapshot -> 'wakeCommentIds' as comments from heartbeat_runs where issue_id = $1 order by id`,
      [issueId],
    );
  const change = async (issueId: string, fields: object, api: ApiClient = user.api) =>
    expect(await api.patch(`/issues/${issueId}`, fields)).toMatchObject({ status: 200 });
  const comment = async (issueId: string, body = 'Look at this.', api: ApiClient = user.api) => {
    const answer = await api.post<{ id: string }>(`/issues/${issueId}/comments`, { body });
    expect(answer.status).toBe(201);
    return answer.body.id;
  };
  const keyOf = async (agentId: string) =>
    user.api.as((await user.api.post<{ token: string }>(`/agents/${agentId}/keys`, { name: 'k' })).body.token);
  /** An issue of the agent on which nothing is under way any more. */
  const quiet = async (assigneeAgentId: string | null, status = 'todo') => {
    const issueId = await user.issue(companyId, { assigneeAgentId });
    for (const { id } of await runs(issueId)) await user.api.post(`/heartbeat-runs/${id}/cancel`);
    if (status !== 'todo') await change(issueId, { status });
    await app.database.query(
      `with gone as (update heartbeat_runs set issue_id = null where issue_id = $1)
       update agent_wakeup_requests set issue_id = null where issue_id = $1`,
      [issueId],
    );
    return issueId;
  };
  /** An issue on which its assignee's run is working. */
  const busy = async (assigneeAgentId = anna): Promise<ClaimedRun & { issueId: string }> => {
    const issueId = await user.issue(companyId, { assigneeAgentId });
    return { ...(await steps.started()), issueId };
  };

  describe('wakes its assignee', () => {
    it('when it is made with one', async () => {
      const issueId = await user.issue(companyId, { assigneeAgentId: anna });
      expect(await wakes(issueId)).toMatchObject([
        { agent_id: anna, source: 'assignment', reason: 'issue_assigned', status: 'queued' },
      ]);
      expect(await runs(issueId)).toMatchObject([{ agent_id: anna, status: 'queued', reasons: ['issue_assigned'] }]);
    });

    it('when it is given to one, and each time anew', async () => {
      const issueId = await quiet(null);
      await change(issueId, { assigneeAgentId: anna });
      await steps.end(await steps.started(), outcome.succeeded('Done.'));
      await change(issueId, { assigneeAgentId: bela });
      await change(issueId, { assigneeAgentId: bela });
      expect(await wakes(issueId)).toMatchObject([
        { agent_id: anna, reason: 'issue_assigned', status: 'completed' },
        { agent_id: bela, reason: 'issue_assigned', status: 'queued' },
      ]);
    });

    it('for a comment, wherever that is written', async () => {
      const issueId = await quiet(anna);
      const first = await comment(issueId);
      await change(issueId, { comment: 'And at that.' });
      const [run] = await runs(issueId);
      expect(run).toMatchObject({ agent_id: anna, reasons: ['issue_commented'] });
      expect(run.comments).toEqual([first, expect.any(String)]);
      expect(await wakes(issueId)).toMatchObject([
        { source: 'automation', reason: 'issue_commented', status: 'queued', comments: run.comments },
        { source: 'automation', reason: 'issue_commented', status: 'coalesced', comments: [run.comments![1]] },
      ]);
    });

    it.each(['done', 'cancelled'])('when it is reopened after it was %s', async (closed) => {
      const issueId = await quiet(anna, closed);
      await change(issueId, { status: 'in_progress' });
      expect(await wakes(issueId)).toMatchObject([{ agent_id: anna, reason: 'issue_reopened', status: 'queued' }]);
    });

    it('once for all that one change brings', async () => {
      const issueId = await quiet(anna, 'done');
      await change(issueId, { status: 'todo', assigneeAgentId: bela, comment: 'Your turn, @bela.' });
      const found = await runs(issueId);
      expect(found).toMatchObject([
        { agent_id: bela, status: 'queued', reasons: ['issue_reopened', 'issue_assigned', 'issue_commented'] },
      ]);
      expect(found[0].comments).toHaveLength(1);
    });

    it('once for all that one change brings while another works on it', async () => {
      const { issueId } = await busy();
      await change(issueId, { status: 'done' });
      await change(issueId, { status: 'todo', assigneeAgentId: bela, comment: 'Your turn, @bela.' });
      expect((await wakes(issueId)).slice(1)).toMatchObject([{ agent_id: bela, status: 'deferred_issue_execution' }]);
    });

    it.each([
      ['a comment while it is closed', (issueId: string) => comment(issueId)],
      ['an assignment while it is closed', (issueId: string) => change(issueId, { assigneeAgentId: bela })],
      ['another status of being closed', (issueId: string) => change(issueId, { status: 'cancelled' })],
      ['another title', (issueId: string) => change(issueId, { title: 'Fix the rope' })],
    ])('not for %s', async (_what, act) => {
      const issueId = await quiet(anna, 'done');
      await act(issueId);
      expect(await wakes(issueId)).toEqual([]);
    });

    it('not for another status of being open', async () => {
      const issueId = await quiet(anna);
      await change(issueId, { status: 'in_progress' });
      expect(await wakes(issueId)).toEqual([]);
    });

    it('not for a comment that comes with its end', async () => {
      const issueId = await quiet(anna);
      await change(issueId, { status: 'done', comment: 'Thanks.' });
      expect(await wakes(issueId)).toEqual([]);
    });

    it('not when it has none', async () => {
      const issueId = await quiet(null);
      await comment(issueId);
      await change(issueId, { status: 'done' });
      await change(issueId, { status: 'todo' });
      expect(await wakes(issueId)).toEqual([]);
    });

    it('with the change or not at all', async () => {
      const issueId = await quiet(anna, 'done');
      const refused = { status: 'todo', comment: 'Again.', environmentId: crypto.randomUUID() };
      expect((await user.api.patch(`/issues/${issueId}`, refused)).status).toBe(422);
      expect(await wakes(issueId)).toEqual([]);
    });
  });

  describe('wakes whom a comment mentions', () => {
    it.each(['todo', 'done'])('while it is %s', async (status) => {
      const issueId = await quiet(null, status);
      const id = await comment(issueId, 'What do you say, @bela?');
      expect(await wakes(issueId)).toMatchObject([
        { agent_id: bela, source: 'automation', reason: 'issue_comment_mentioned', status: 'queued', comments: [id] },
      ]);
    });

    it('beside its assignee, of whom one waits for the other', async () => {
      const issueId = await quiet(anna);
      await comment(issueId, 'What do you say, @bela? And you, @anna?');
      const found = await wakes(issueId);
      expect(found).toHaveLength(2);
      expect(found).toContainEqual(expect.objectContaining({ agent_id: anna, reason: 'issue_commented' }));
      expect(found).toContainEqual(expect.objectContaining({ agent_id: bela, reason: 'issue_comment_mentioned' }));
      expect(found.map(({ status }) => status)).toEqual(['queued', 'deferred_issue_execution']);
    });

    it('once somebody else’s run on it has ended', async () => {
      const run = await busy();
      const id = await comment(run.issueId, 'What do you say, @bela?', user.api.as(run.token));
      expect((await wakes(run.issueId)).slice(1)).toMatchObject([
        { agent_id: bela, status: 'deferred_issue_execution', status_reason: 'issue_has_live_run', comments: [id] },
      ]);
      await steps.end(run, outcome.succeeded());
      expect((await runs(run.issueId)).slice(1)).toMatchObject([
        { agent_id: bela, status: 'queued', reasons: ['issue_comment_mentioned'], comments: [id] },
      ]);
    });
  });

  describe('never wakes', () => {
    it.each(['the token of its run', 'a key'])('the author of a comment, known by %s', async (by) => {
      const run = await busy();
      const api = by === 'a key' ? await keyOf(anna) : user.api.as(run.token);
      await comment(run.issueId, 'So far so good. @anna', api);
      await change(run.issueId, { comment: 'Going on.' }, api);
      expect(await wakes(run.issueId)).toHaveLength(1);
      await steps.end(run, outcome.succeeded('Done.'));
      expect(await steps.dispatch()).toBeNull();
    });

    it('the agent whose run takes it, closes it and opens it again', async () => {
      const run = await busy();
      const api = user.api.as(run.token);
      const other = await quiet(null);
      await change(other, { assigneeAgentId: anna }, api);
      for (const issueId of [run.issueId, other]) {
        await change(issueId, { status: 'done' }, api);
        await change(issueId, { status: 'todo' }, api);
      }
      expect(await wakes(run.issueId)).toHaveLength(1);
      expect(await wakes(other)).toEqual([]);
    });

    it('but does wake others for what an agent does', async () => {
      const run = await busy();
      const api = user.api.as(run.token);
      const issueId = await quiet(bela);
      const id = await comment(issueId, 'Can you look?', api);
      expect(await wakes(issueId)).toMatchObject([{ agent_id: bela, reason: 'issue_commented', comments: [id] }]);
      const given = await quiet(null);
      await change(given, { assigneeAgentId: bela }, api);
      expect(await wakes(given)).toMatchObject([{ agent_id: bela, reason: 'issue_assigned' }]);
    });
  });

  describe('skips an agent that cannot be woken, and goes on,', () => {
    const states: [state: string, reason: string, bring: () => Promise<unknown>][] = [
      ['paused', 'agent_paused', () => user.api.post(`/agents/${anna}/pause`)],
      ['terminated', 'agent_terminated', () => user.api.post(`/agents/${anna}/terminate`)],
      [
        'pending approval',
        'agent_pending_approval',
        () => app.database.query(`update agents set status = 'pending_approval' where id = $1`, [anna]),
      ],
      [
        'woken by its timer only',
        'wake_on_demand_disabled',
        () => user.api.patch(`/agents/${anna}`, { runtimeConfig: { heartbeat: { wakeOnDemand: false } } }),
      ],
    ];
    it.each(states)('when it is %s', async (_state, reason, bring) => {
      const [commented, given, reopened, mentioned] = [
        await quiet(anna),
        await quiet(null),
        await quiet(anna, 'done'),
        await quiet(bela),
      ];
      await bring();
      const count = async () =>
        app.database.query<{ n: number; issue_id: string; run_id: string | null }>(
          `select coalesced_count + 1 as n, issue_id, run_id from agent_wakeup_requests
           where agent_id = $1 and status = 'skipped' and status_reason = $2`,
          [anna, reason],
        );
      await comment(commented);
      expect(await count()).toEqual([{ n: 1, issue_id: commented, run_id: null }]);
      await change(given, { assigneeAgentId: anna });
      expect(await count()).toEqual([{ n: 2, issue_id: given, run_id: null }]);
      await change(reopened, { status: 'todo' });
      expect(await count()).toEqual([{ n: 3, issue_id: reopened, run_id: null }]);
      await comment(mentioned, 'What do you say, @anna?');
      expect(await count()).toEqual([{ n: 4, issue_id: mentioned, run_id: null }]);
      // Who can be woken still is.
      expect((await wakes(mentioned)).filter(({ agent_id }) => agent_id === bela)).toMatchObject([
        { status: 'queued' },
      ]);
      const made = await user.issue(companyId, { assigneeAgentId: anna });
      expect(await count()).toEqual([{ n: 5, issue_id: made, run_id: null }]);
      expect(await runs(made)).toEqual([]);
      const path = `/companies/${companyId}/activity?action=heartbeat.skipped`;
      const { body: skips } = await user.api.get<ActivityEntry[]>(path);
      expect(skips.map(({ details }) => details)).toEqual(
        [made, mentioned, reopened, given, commented].map((issueId) => ({ reason, issueId })),
      );
    });

    it('when its company is archived', async () => {
      const issueId = await quiet(anna);
      await user.api.post(`/companies/${companyId}/archive`);
      await comment(issueId);
      expect(await wakes(issueId)).toMatchObject([{ status: 'skipped', status_reason: 'company_archived' }]);
    });
  });

  describe('on which a run works collects comments', () => {
    it('for one further run, in order', async () => {
      const run = await busy();
      const ids: string[] = [];
      for (const body of ['one', 'two', 'three', 'and four, @anna']) ids.push(await comment(run.issueId, body));
      const [, waiting, ...rest] = await wakes(run.issueId);
      expect(rest).toEqual([]);
      expect(waiting).toMatchObject({ agent_id: anna, status: 'deferred_issue_execution', comments: ids });
      await steps.end(run, outcome.succeeded());
      const [, next, ...others] = await runs(run.issueId);
      expect(others).toEqual([]);
      expect(next).toMatchObject({ agent_id: anna, status: 'queued', comments: ids });
      await steps.end(await steps.started(), outcome.succeeded());
      expect(await steps.dispatch()).toBeNull();
    });

    it('with those that come before the further run starts', async () => {
      const run = await busy();
      const ids = [await comment(run.issueId)];
      await steps.end(run, outcome.succeeded());
      ids.push(await comment(run.issueId));
      const next = await steps.started();
      expect(next.contextSnapshot).toMatchObject({ wakeCommentIds: ids, wakeCommentId: ids[1] });
      ids.push(await comment(run.issueId));
      expect((await runs(run.issueId)).at(-1)).toMatchObject({ id: next.id, comments: ids.slice(0, 2) });
      await steps.end(next, outcome.succeeded());
      expect((await steps.started()).contextSnapshot).toMatchObject({ wakeCommentIds: ids.slice(2) });
    });

    const told = async (run: ClaimedRun) => {
      const payload = (await app.get(WakePayloads).of(run)) as { wakeCommentIds: string[]; comments: Inlined[] };
      return { ids: payload.wakeCommentIds, comments: payload.comments };
    };

    it('of which the last eight are told, and all ids', async () => {
      const issueId = await quiet(anna);
      const ids: string[] = [];
      for (let index = 0; index < 10; index++) ids.push(await comment(issueId, `comment ${index}`));
      expect(await told(await steps.started())).toMatchObject({
        ids,
        comments: ids.slice(2).map((id, index) => ({ id, body: `comment ${index + 2}`, truncated: false })),
      });
    });

    it('of which 4,000 characters each are told, and 12,000 in all', async () => {
      const issueId = await quiet(anna);
      const ids: string[] = [];
      for (let index = 0; index < 5; index++)
        ids.push(await comment(issueId, `${index}`.repeat(index === 4 ? 9 : 5000)));
      const { ids: all, comments } = await told(await steps.started());
      expect(all).toEqual(ids);
      expect(comments.map(({ body, truncated }) => [body[0], body.length, truncated])).toEqual([
        [undefined, 0, true],
        ['1', 3991, true],
        ['2', 4000, true],
        ['3', 4000, true],
        ['4', 9, false],
      ]);
      expect(comments.reduce((sum, { body }) => sum + body.length, 0)).toBe(12_000);
    });
  });

  describe('that is given to somebody else', () => {
    it('never keeps the new assignee waiting for a retry of the old one', async () => {
      const run = await busy();
      await steps.end(run, outcome.transient());
      expect((await runs(run.issueId)).map(({ status }) => status)).toEqual(['failed', 'scheduled_retry']);
      await change(run.issueId, { assigneeAgentId: bela });
      const next = await steps.started();
      expect(next).toMatchObject({ agentId: bela, issueId: run.issueId });
      await steps.retriesAreDue();
      expect(await steps.dispatch()).toBeNull();
      await steps.end(next, outcome.succeeded('Done.'));
      expect(await steps.dispatch()).toBeNull();
      const ended = await app.database.query(
        `select status, error_code from heartbeat_runs where retry_of_run_id = $1`,
        [run.id],
      );
      expect(ended).toEqual([{ status: 'cancelled', error_code: 'issue_reassigned' }]);
    });

    it('lets the new assignee have it at once although a retry of the old one is due', async () => {
      const run = await busy();
      await steps.end(run, outcome.transient());
      await steps.retriesAreDue();
      await change(run.issueId, { assigneeAgentId: bela });
      expect(await steps.started()).toMatchObject({ agentId: bela, issueId: run.issueId });
    });

    it('keeps the new assignee waiting only for what is live', async () => {
      const run = await busy();
      await change(run.issueId, { assigneeAgentId: bela });
      expect((await wakes(run.issueId)).at(-1)).toMatchObject({ agent_id: bela, status: 'deferred_issue_execution' });
      await steps.end(run, outcome.transient());
      expect(await steps.started()).toMatchObject({ agentId: bela });
    });
  });
});
