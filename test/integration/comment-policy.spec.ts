import { outcome, startStillApp, Steps } from '../support/still-app.js';
import { Scenario } from '../support/scenario.js';
import type { TestApp } from '../support/test-app.js';
import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import type { RunOutcome } from '../../src/heartbeat/runs/run-outcome.js';

interface RunRow {
  id: string;
  agent_id: string;
  status: string;
  comment_status: string | null;
  retry_reason: string | null;
  reasons: string[];
}

describe('a run that was asked for an answer', () => {
  let app: TestApp;
  let user: Scenario;
  let steps: Steps;
  let companyId: string;
  let anna: string;
  let bela: string;
  let issueId: string;

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
    issueId = await user.issue(companyId, { assigneeAgentId: anna });
  });

  const runs = () =>
    app.database.query<RunRow>(
      `select id, agent_id, status, issue_comment_status as comment_status, scheduled_retry_reason as retry_reason,
         context_snapshot -> 'wakeReasons' as reasons
       from heartbeat_runs where issue_id = $1 order by id`,
      [issueId],
    );
  const comments = async () =>
    (
      await user.api.get<{ body: string; authorAgentId: string; createdByRunId: string }[]>(
        `/issues/${issueId}/comments`,
      )
    ).body;
  const says = (body: string, api = user.api, issue = issueId) =>
    api.post<{ id: string }>(`/issues/${issue}/comments`, { body });
  const as = (run: ClaimedRun) => user.api.as(run.token);
  /** Makes the agent's own wake for the issue, with that reason, the only one. */
  const askedFor = async (reason: string, agentId = bela) => {
    await user.api.post(`/heartbeat-runs/${(await runs())[0].id}/cancel`);
    await user.wake(agentId, { reason, payload: { issueId } });
    return steps.started();
  };
  const ended = async (how: RunOutcome, run?: ClaimedRun) => {
    await steps.end(run ?? (await steps.started()), how);
    return runs();
  };

  it.each([
    'issue_assigned',
    'execution_review_requested',
    'execution_approval_requested',
    'execution_changes_requested',
  ])('by `%s` and says nothing is started once more, and not again', async (reason) => {
    const run = reason === 'issue_assigned' ? await steps.started() : await askedFor(reason);
    const [first, retry] = (await ended(outcome.succeeded(), run)).slice(-2);
    expect(first).toMatchObject({ id: run.id, status: 'succeeded', comment_status: 'retry_queued' });
    expect(retry).toMatchObject({
      agent_id: run.agentId,
      status: 'queued',
      retry_reason: 'missing_issue_comment',
      reasons: [reason],
    });
    const after = await ended(outcome.succeeded());
    expect(after.at(-1)).toMatchObject({ id: retry.id, status: 'succeeded', comment_status: 'retry_exhausted' });
    expect(await steps.dispatch()).toBeNull();
  });

  it.each(['issue_commented', 'issue_comment_mentioned', 'look'])('by nobody (`%s`) needs none', async (reason) => {
    expect((await ended(outcome.succeeded(), await askedFor(reason))).at(-1)).toMatchObject({
      status: 'succeeded',
      comment_status: 'not_applicable',
    });
    expect(await steps.dispatch()).toBeNull();
  });

  it('by a wake that joined it while it was queued has to answer too', async () => {
    await user.api.post(`/heartbeat-runs/${(await runs())[0].id}/cancel`);
    await user.wake(anna, { reason: 'look', payload: { issueId } });
    await user.wake(anna, { reason: 'execution_review_requested', payload: { issueId } });
    await user.wake(anna, { reason: 'look again', payload: { issueId } });
    expect(await ended(outcome.succeeded())).toMatchObject([
      { status: 'cancelled' },
      { comment_status: 'retry_queued', reasons: ['look', 'execution_review_requested', 'look again'] },
      { status: 'queued', retry_reason: 'missing_issue_comment' },
    ]);
  });

  it('has answered with a comment on its issue', async () => {
    const run = await steps.started();
    await says('The anchor holds.', as(run));
    expect(await ended(outcome.succeeded(), run)).toMatchObject([{ comment_status: 'satisfied' }]);
    expect(await comments()).toMatchObject([{ createdByRunId: run.id }]);
  });

  it('has answered with a comment although it failed', async () => {
    const run = await steps.started();
    await says('It does not hold.', as(run));
    expect(await ended(outcome.failed(), run)).toMatchObject([{ status: 'failed', comment_status: 'satisfied' }]);
  });

  it('has answered in its second attempt', async () => {
    await ended(outcome.succeeded());
    const retry = await steps.started();
    await says('Here it is.', as(retry));
    expect(await ended(outcome.succeeded(), retry)).toMatchObject([
      { comment_status: 'retry_queued' },
      { comment_status: 'satisfied' },
    ]);
  });

  it('has not answered with a comment on another issue, nor with one that its agent made outside of it', async () => {
    const run = await steps.started();
    const key = await user.api.post<{ token: string }>(`/agents/${anna}/keys`, { name: 'outside' });
    await says('From outside.', user.api.as(key.body.token));
    await says('Elsewhere.', as(run), await user.issue(companyId));
    expect((await ended(outcome.succeeded(), run))[0]).toMatchObject({ comment_status: 'retry_queued' });
  });

  describe('that left a result', () => {
    it('answers with that, as its agent and on its own behalf', async () => {
      const run = await steps.started();
      expect(await ended(outcome.succeeded(' The anchor holds.\n'), run)).toMatchObject([
        { comment_status: 'satisfied' },
      ]);
      expect(await comments()).toMatchObject([
        { body: 'The anchor holds.', authorAgentId: anna, createdByRunId: run.id },
      ]);
    });

    it('leaves it as its comment when nobody asked, too', async () => {
      const run = await askedFor('look');
      expect((await ended(outcome.succeeded('Looked.'), run)).at(-1)).toMatchObject({
        comment_status: 'not_applicable',
      });
      expect(await comments()).toMatchObject([{ body: 'Looked.', authorAgentId: bela, createdByRunId: run.id }]);
    });

    it('does not say it beside a comment of its own', async () => {
      const run = await steps.started();
      await says('My own words.', as(run));
      await ended(outcome.succeeded('The anchor holds.'), run);
      expect(await comments()).toMatchObject([{ body: 'My own words.' }]);
    });

    it.each([
      ['failed', () => ({ ...outcome.failed(), resultJson: { result: 'Half of it.' } })],
      ['timed out', () => ({ ...outcome.timedOut(), resultJson: { result: 'Half of it.' } })],
      ['was lost in an upstream failure', () => ({ ...outcome.transient(), resultJson: { result: 'Half of it.' } })],
      ['said only white space', () => outcome.succeeded(' \n ')],
      ['said no text', () => ({ ...outcome.succeeded(), resultJson: { result: 7 } })],
    ])('does not say it when it %s', async (_how, how) => {
      await ended(how());
      expect(await comments()).toEqual([]);
    });

    it('wakes nobody with it', async () => {
      await ended(outcome.succeeded('Well done, @bela and @anna.'));
      expect(await runs()).toHaveLength(1);
      expect(await steps.dispatch()).toBeNull();
    });
  });

  describe('is asked again', () => {
    it.each([
      ['failed', outcome.failed],
      ['timed out', outcome.timedOut],
    ])('when it %s', async (_how, how) => {
      expect(await ended(how())).toMatchObject([
        { comment_status: 'retry_queued' },
        { status: 'queued', retry_reason: 'missing_issue_comment' },
      ]);
    });

    it('when what waits for its agent holds no comment', async () => {
      const run = await steps.started();
      await user.wake(anna, { reason: 'look', payload: { issueId } });
      await user.wake(anna, { reason: 'look', payload: { issueId, commentId: crypto.randomUUID() } });
      expect((await ended(outcome.succeeded(), run))[0]).toMatchObject({ comment_status: 'retry_queued' });
    });

    it('when the comment that waits is for another agent', async () => {
      const run = await steps.started();
      await user.api.patch(`/issues/${issueId}`, { status: 'done', comment: 'What do you say, @bela?' });
      expect(await ended(outcome.succeeded(), run)).toMatchObject([
        { comment_status: 'retry_queued' },
        { agent_id: anna, status: 'queued' },
      ]);
    });

    it('when the comment that waits for it concerns it no more', async () => {
      await user.api.post(`/heartbeat-runs/${(await runs())[0].id}/cancel`);
      await user.wake(anna, { reason: 'execution_review_requested', payload: { issueId } });
      const run = await steps.started();
      await says('One more thing.');
      await user.api.patch(`/issues/${issueId}`, { assigneeAgentId: bela });
      expect((await ended(outcome.succeeded(), run)).slice(1)).toMatchObject([
        { agent_id: anna, comment_status: 'retry_queued' },
        { agent_id: anna, status: 'queued', retry_reason: 'missing_issue_comment' },
      ]);
    });
  });

  describe('is not asked again', () => {
    it('when a comment waits for its agent: that becomes its next run', async () => {
      const run = await steps.started();
      const ids: string[] = [];
      for (const body of ['one', 'two', 'three']) ids.push((await says(body)).body.id);
      expect(await ended(outcome.succeeded(), run)).toMatchObject([
        { comment_status: 'not_applicable' },
        { agent_id: anna, status: 'queued', retry_reason: null, reasons: ['issue_commented'] },
      ]);
      expect((await steps.started()).contextSnapshot).toMatchObject({ wakeCommentIds: ids });
    });

    it('when a comment waits that came with a wake of its own', async () => {
      const run = await steps.started();
      await user.api.patch(`/issues/${issueId}`, { status: 'done' });
      const { body } = await says('Closed.');
      await user.wake(anna, { reason: 'look', payload: { issueId, commentId: body.id } });
      expect(await ended(outcome.succeeded(), run)).toMatchObject([
        { comment_status: 'not_applicable' },
        { status: 'queued', retry_reason: null, reasons: ['look'] },
      ]);
    });

    it.each([
      ['shut down', 'runner_shutdown', (run: ClaimedRun) => steps.end(run, outcome.shutDown())],
      ['lost', 'process_lost', (run: ClaimedRun) => steps.lose(run)],
      ['failed by an upstream', 'transient_upstream', (run: ClaimedRun) => steps.end(run, outcome.transient())],
    ])('when it was %s: it is retried for that', async (_how, reason, end) => {
      await end(await steps.started());
      expect(await runs()).toMatchObject([
        { status: 'failed', comment_status: 'not_applicable' },
        { retry_reason: reason, reasons: ['issue_assigned'] },
      ]);
    });

    it('when it was lost for good', async () => {
      await steps.lose(await steps.started());
      await steps.lose(await steps.started());
      expect(await runs()).toMatchObject([{}, { comment_status: 'not_applicable' }]);
    });

    it.each([
      ['it was cancelled', (run: ClaimedRun) => user.api.post(`/heartbeat-runs/${run.id}/cancel`)],
      ['its agent is paused, to let it end', () => user.api.post(`/agents/${anna}/pause`, { drain: true })],
      ['its agent is terminated', () => user.api.post(`/agents/${anna}/terminate`)],
      ['its company is archived', () => user.api.post(`/companies/${companyId}/archive`)],
    ])('when %s', async (_when, change) => {
      const run = await steps.started();
      expect((await change(run)).status).toBe(200);
      expect(await ended(outcome.succeeded(), run)).toMatchObject([{ comment_status: 'not_applicable' }]);
    });

    it('when the issue was given to another agent', async () => {
      const run = await steps.started();
      await user.api.patch(`/issues/${issueId}`, { assigneeAgentId: bela });
      expect(await ended(outcome.succeeded(), run)).toMatchObject([
        { comment_status: 'not_applicable' },
        { agent_id: bela, status: 'queued', retry_reason: null },
      ]);
    });
  });
});
