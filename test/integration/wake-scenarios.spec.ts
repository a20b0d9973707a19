import { eventually } from '../support/eventually.js';
import { Scenario, type Run } from '../support/scenario.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

/** A process that posts a comment on its issue with the token of its run. */
const COMMENTS = `"${process.execPath}" -e "fetch(process.env.PAPERCLIP_API_URL + '/api/issues/' +
  process.env.PAPERCLIP_TASK_ID + '/comments', { method: 'POST', body: JSON.stringify({ body: 'Done so far.' }),
  headers: { 'content-type': 'application/json', authorization: 'Bearer ' + process.env.PAPERCLIP_API_KEY } })
  .then((answer) => console.log('comment', answer.status))"`;

describe('what wakes an agent', () => {
  let app: TestApp;
  let user: Scenario;
  let companyId: string;

  beforeAll(async () => {
    app = await startTestApp();
    user = new Scenario(app.url);
  });
  beforeEach(async () => void (companyId = await user.company()));
  afterAll(() => app.close());

  const runsOf = async (issueId: string) => (await user.api.get<Run[]>(`/issues/${issueId}/runs`)).body.toReversed();
  const settled = (issueId: string, count: number) =>
    eventually(
      () => runsOf(issueId),
      (runs) =>
        runs.length >= count && runs.every(({ status }) => ['succeeded', 'failed', 'cancelled'].includes(status)),
    );
  const comment = async (issueId: string, body: string) =>
    (await user.api.post<{ id: string }>(`/issues/${issueId}/comments`, { body })).body.id;

  it('makes one follow-up run of the comments that come while a run works on the issue', async () => {
    const agentId = await user.agent(companyId, `echo $PAPERCLIP_WAKE_REASON; ${COMMENTS}; sleep 1`);
    const issueId = await user.issue(companyId, { assigneeAgentId: agentId });
    const [first] = await eventually(
      () => runsOf(issueId),
      (runs) => runs[0]?.status === 'running',
    );
    const ids = [await comment(issueId, 'one'), await comment(issueId, 'two'), await comment(issueId, 'three')];
    const [, followUp, ...rest] = await settled(issueId, 2);
    expect(rest).toEqual([]);
    const run = await user.run(followUp.id);
    expect(run.contextSnapshot).toMatchObject({
      wakeCommentIds: ids,
      wakeCommentId: ids[2],
      wakeReason: 'issue_commented',
    });
    expect(await user.run(first.id)).toMatchObject({ status: 'succeeded', issueCommentStatus: 'satisfied' });
  });

  it('lets comments that wait stand in for the comment that a run left out', async () => {
    const agentId = await user.agent(companyId, 'sleep 1');
    const issueId = await user.issue(companyId, { assigneeAgentId: agentId });
    await eventually(
      () => runsOf(issueId),
      (runs) => runs[0]?.status === 'running',
    );
    const ids = [await comment(issueId, 'one'), await comment(issueId, 'two'), await comment(issueId, 'three')];
    const [first, followUp, ...rest] = await settled(issueId, 2);
    expect(rest).toEqual([]);
    expect(await user.run(first.id)).toMatchObject({ issueCommentStatus: 'not_applicable' });
    expect((await user.run(followUp.id)).contextSnapshot).toMatchObject({ wakeCommentIds: ids });
  });

  it('asks once more for a comment that was left out, and not again', async () => {
    const issueId = await user.issue(companyId, { assigneeAgentId: await user.agent(companyId, 'true') });
    const [first, retry, ...rest] = await settled(issueId, 2);
    expect(rest).toEqual([]);
    expect(await user.run(first.id)).toMatchObject({ status: 'succeeded', issueCommentStatus: 'retry_queued' });
    expect(await user.run(retry.id)).toMatchObject({
      status: 'succeeded',
      retryOfRunId: first.id,
      scheduledRetryReason: 'missing_issue_comment',
      issueCommentStatus: 'retry_exhausted',
    });
  });

  it('is not confused by a payload that speaks in its own terms', async () => {
    const agentId = await user.agent(companyId, 'sleep 1');
    const issueId = await user.issue(companyId, { assigneeAgentId: agentId });
    await eventually(
      () => runsOf(issueId),
      (runs) => runs[0]?.status === 'running',
    );
    await user.wake(agentId, { payload: { issueId, wakeCommentIds: 'x', wakeReasons: { a: 1 }, wakeCommentId: 7 } });
    const [, promoted] = await settled(issueId, 2);
    expect((await user.run(promoted.id)).contextSnapshot).not.toHaveProperty('wakeCommentIds');
    const wrong = await user.api.post(`/agents/${agentId}/wakeup`, { payload: { issueId: 7 } });
    expect(wrong).toMatchObject({ status: 400, body: { details: [{ field: 'payload.issueId' }] } });
  });

  it('tells the process what woke it, and lets it comment with its own token', async () => {
    const agentId = await user.agent(
      companyId,
      `${COMMENTS}; echo "$PAPERCLIP_TASK_ID|$PAPERCLIP_WAKE_REASON|$PAPERCLIP_WAKE_COMMENT_ID"; echo $PAPERCLIP_WAKE_PAYLOAD_JSON`,
    );
    const issueId = await user.issue(companyId, { assigneeAgentId: agentId, status: 'todo' });
    await settled(issueId, 1);
    const commentId = await comment(issueId, 'What about the rope?');
    const [, run] = await settled(issueId, 2);
    const [answer, told, payload] = (await user.log(run.id)).trim().split('\n');
    expect(answer).toBe('comment 201');
    expect(told).toBe(`${issueId}|issue_commented|${commentId}`);
    expect(JSON.parse(payload)).toMatchObject({
      issueId,
      wakeCommentIds: [commentId],
      comments: [{ id: commentId, body: 'What about the rope?', authorType: 'user' }],
    });
    const { body: comments } = await user.api.get<{ createdByRunId: string | null }[]>(`/issues/${issueId}/comments`);
    expect(comments.filter(({ createdByRunId }) => createdByRunId === run.id)).toHaveLength(1);
  });
});
