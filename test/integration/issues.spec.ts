import { CredentialResolvers } from '../../src/auth/credential-resolvers.js';
import { newId } from '../../src/database/id.js';
import { ApiClient, type Refusal } from '../support/api-client.js';
import { holdTransaction } from '../support/held-transaction.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

interface Issue {
  id: string;
  identifier: string;
  title: string;
  status: string;
  assigneeAgentId: string | null;
  environmentId: string | null;
  executionRunId: string | null;
  comment?: Comment;
}

interface Comment {
  id: string;
  authorType: string;
  authorAgentId: string | null;
  createdByRunId: string | null;
  body: string;
}

describe('issues', () => {
  let app: TestApp;
  let operator: ApiClient;
  let companyId: string;
  let otherCompanyId: string;
  /** Never woken: what these tests look at is not mixed with runs. */
  let agentId: string;
  let agent: ApiClient;

  beforeAll(async () => {
    app = await startTestApp();
    operator = new ApiClient(app.url);
    companyId = (await operator.post<{ id: string }>('/companies', { name: 'Berthing' })).body.id;
    otherCompanyId = (await operator.post<{ id: string }>('/companies', { name: 'Elsewhere' })).body.id;
    agentId = await makeAgent('mate');
    const key = await operator.post<{ token: string }>(`/agents/${agentId}/keys`, { name: 'k' });
    agent = operator.as(key.body.token);
  });
  afterAll(() => app.close());

  const makeAgent = async (name: string, company = companyId) => {
    const runtimeConfig = { heartbeat: { wakeOnDemand: false } };
    return (await operator.post<{ id: string }>(`/companies/${company}/agents`, { name, runtimeConfig })).body.id;
  };
  const create = async (body: object, company = companyId) =>
    (await operator.post<Issue>(`/companies/${company}/issues`, body)).body;
  const actionsOn = async (issueId: string) => {
    const sql = `select action from activity_log where entity_type = 'issue' and entity_id = $1 order by seq`;
    return (await app.database.query<{ action: string }>(sql, [issueId])).map(({ action }) => action);
  };
  const makeEnvironment = async (company: string, status = 'active') => {
    const id = newId();
    await app.database.query(
      `insert into environments (id, company_id, name, driver, status) values ($1, $2, $3, 'test', $4)`,
      [id, company, `env ${id}`, status],
    );
    return id;
  };
  const makeQueuedRun = async (issueId: string | null) => {
    const id = newId();
    await app.database.query(
      `insert into heartbeat_runs (id, company_id, agent_id, issue_id, invocation_source, status, due_at)
       values ($1, $2, $3, $4, 'on_demand', 'queued', now() + interval '1 hour')`,
      [id, companyId, agentId, issueId],
    );
    return id;
  };

  describe('create', () => {
    it('numbers issues by company, and answers the whole issue', async () => {
      const { status, body } = await operator.post<Issue>(`/companies/${otherCompanyId}/issues`, { title: 'First' });
      expect(status).toBe(201);
      expect(body).toEqual({
        id: expect.any(String) as string,
        companyId: otherCompanyId,
        identifier: 'ELS-1',
        title: 'First',
        description: null,
        status: 'todo',
        priority: 'medium',
        assigneeAgentId: null,
        environmentId: null,
        executionWorkspaceId: null,
        executionRunId: null,
        createdAt: expect.stringMatching(/Z$/) as string,
        updatedAt: expect.any(String) as string,
      });
      expect((await create({ title: 'Second' }, otherCompanyId)).identifier).toBe('ELS-2');
      expect(await actionsOn(body.id)).toEqual(['issue.created']);
    });

    it('gives issues that are made at once numbers of their own', async () => {
      const made = await Promise.all(Array.from({ length: 12 }, (_, n) => create({ title: `Crowd ${n}` })));
      expect(new Set(made.map(({ identifier }) => identifier)).size).toBe(12);
    });

    it('accepts what Paperclip’s client always sends', async () => {
      const { status } = await operator.post(`/companies/${companyId}/issues`, {
        title: 'From the client',
        status: 'backlog',
        priority: 'high',
        workMode: 'standard',
        requestDepth: 0,
        allowDuplicate: false,
      });
      expect(status).toBe(201);
    });

    it('tells of an assignment, also to a paused agent', async () => {
      const paused = await makeAgent('resting');
      await operator.post(`/agents/${paused}/pause`);
      const { id, assigneeAgentId } = await create({ title: 'Given', assigneeAgentId: paused });
      expect(assigneeAgentId).toBe(paused);
      expect(await actionsOn(id)).toEqual(['issue.created', 'issue.assigned']);
    });

    it('refuses references to what the company does not have', async () => {
      const cases = [
        [{ assigneeAgentId: newId() }, 'assignee_not_found'],
        [{ assigneeAgentId: await makeAgent('foreign', otherCompanyId) }, 'assignee_not_found'],
        [{ environmentId: newId() }, 'environment_not_found'],
        [{ environmentId: await makeEnvironment(otherCompanyId) }, 'environment_not_found'],
        [{ environmentId: await makeEnvironment(companyId, 'archived') }, 'environment_archived'],
        [{ executionWorkspaceId: newId() }, 'workspace_not_found'],
      ] as const;
      for (const [reference, code] of cases) {
        const body = { title: 'Broken', ...reference };
        const answer = await operator.post<Refusal>(`/companies/${companyId}/issues`, body);
        expect([answer.status, answer.body.code]).toEqual([422, code]);
      }
      const sql = `select count(*)::int as broken from issues where title = 'Broken'`;
      expect(await app.database.query(sql)).toEqual([{ broken: 0 }]);
    });

    it.each([{}, { title: '' }, { title: 'x', status: 'odd' }, { title: 'x', priority: null }, { title: 'x', odd: 1 }])(
      'refuses %j',
      async (body) => {
        expect((await operator.post(`/companies/${companyId}/issues`, body)).status).toBe(400);
      },
    );
  });

  describe('find', () => {
    it('finds by id and by identifier, in any case', async () => {
      const made = await create({ title: 'Findable' });
      for (const ref of [made.id, made.identifier, made.identifier.toLowerCase()]) {
        expect((await operator.get<Issue>(`/issues/${ref}`)).body).toEqual(made);
      }
    });

    it.each(['nonsense', 'BER-0', 'BER-999999', 'BER-1%27', newId()])('does not find %s', async (ref) => {
      expect((await operator.get(`/issues/${ref}`)).status).toBe(404);
    });

    it('shows the run that works on it', async () => {
      const { id } = await create({ title: 'Worked on' });
      const runId = await makeQueuedRun(id);
      expect((await operator.get<Issue>(`/issues/${id}`)).body.executionRunId).toBe(runId);
    });

    it('filters by statuses and assignee', async () => {
      const mine = await create({ title: 'Mine', status: 'in_review', assigneeAgentId: agentId });
      const open = await create({ title: 'Open', status: 'blocked' });
      const path = `/companies/${companyId}/issues`;
      const byStatus = await operator.get<Issue[]>(`${path}?status=in_review%2Cblocked`);
      expect(byStatus.body.map(({ id }) => id)).toEqual([open.id, mine.id]);
      const byBoth = await operator.get<Issue[]>(
        `${path}?status=in_review,blocked&assigneeAgentId=${agentId}&projectId=p`,
      );
      expect(byBoth.body.map(({ id }) => id)).toEqual([mine.id]);
      expect((await operator.get(`${path}?status=odd`)).status).toBe(400);
    });
  });

  describe('update', () => {
    it('tells of each kind of change by its own event', async () => {
      const { id } = await create({ title: 'Before' });
      const change = { title: 'After', status: 'in_progress', assigneeAgentId: agentId, hiddenAt: null };
      const { status, body } = await operator.patch<Issue>(`/issues/${id}`, change);
      expect(status).toBe(200);
      expect(body).toMatchObject({ title: 'After', status: 'in_progress', assigneeAgentId: agentId });
      await operator.patch(`/issues/${id}`, { assigneeAgentId: null });
      await operator.patch(`/issues/${id}`, { status: 'in_progress' });
      expect(await actionsOn(id)).toEqual([
        'issue.created',
        'issue.updated',
        'issue.status_changed',
        'issue.assigned',
        'issue.unassigned',
      ]);
    });

    it('adds a comment in the same transaction, and answers it', async () => {
      const { id } = await create({ title: 'Commented' });
      const { body } = await operator.patch<Issue>(`/issues/${id}`, { status: 'done', comment: 'It is done.' });
      expect(body.comment).toMatchObject({ body: 'It is done.', authorType: 'user' });
      expect(await actionsOn(id)).toEqual(['issue.created', 'issue.status_changed', 'issue.comment_added']);
    });

    it('changes nothing when a part of it is refused', async () => {
      const { id, title } = await create({ title: 'Whole' });
      const environmentId = await makeEnvironment(companyId, 'archived');
      const answer = await operator.patch(`/issues/${id}`, { title: 'Half', environmentId, comment: 'never said' });
      expect(answer.status).toBe(422);
      expect((await operator.get<Issue>(`/issues/${id}`)).body.title).toBe(title);
      expect((await operator.get<Comment[]>(`/issues/${id}/comments`)).body).toEqual([]);
    });

    it('tells what changed from what it was, not from what it was before another change', async () => {
      const { id } = await create({ title: 'Crossed' });
      const held = await holdTransaction(app.database, `update issues set status = 'blocked' where id = $1`, [id]);
      const answer = operator.patch(`/issues/${id}`, { status: 'done' });
      await held.blocksSomebody();
      await held.commit();
      await answer;
      const sql = `select details from activity_log where entity_id = $1 and action = 'issue.status_changed'`;
      const [entry] = await app.database.query<{ details: object }>(sql, [id]);
      expect(entry?.details).toMatchObject({ from: 'blocked', to: 'done' });
    });

    it('leaves a place alone that was archived after it was chosen', async () => {
      const environmentId = await makeEnvironment(companyId);
      const { id } = await create({ title: 'Placed', environmentId });
      await app.database.query(`update environments set status = 'archived' where id = $1`, [environmentId]);
      expect((await operator.patch<Issue>(`/issues/${id}`, { title: 'Renamed' })).status).toBe(200);
    });
  });

  describe('delete', () => {
    it('takes it out of sight and keeps its row and number', async () => {
      const { id, identifier } = await create({ title: 'Gone' });
      expect((await operator.delete(`/issues/${identifier}`)).status).toBe(204);
      expect((await operator.get(`/issues/${id}`)).status).toBe(404);
      expect(await actionsOn(id)).toEqual(['issue.created', 'issue.deleted']);
    });

    it('is refused while a run works on it', async () => {
      const { id } = await create({ title: 'Held' });
      const runId = await makeQueuedRun(id);
      const { status, body } = await operator.delete<Refusal>(`/issues/${id}`);
      expect([status, body.code, body.details]).toEqual([409, 'issue_has_live_run', { runId }]);
    });
  });

  describe('comments', () => {
    it('carry their true author, and the run on whose behalf it writes', async () => {
      const { id } = await create({ title: 'Discussed' });
      const runId = await makeQueuedRun(null);
      app.get(CredentialResolvers).register({
        prefix: 'test_run_',
        resolve: () => Promise.resolve({ type: 'agent', id: agentId, companyId, runId }),
      });
      const path = `/issues/${id}/comments`;
      await operator.post(path, { body: 'by the operator', authorType: 'agent' });
      await agent.post(path, { body: 'by a key' });
      const byRun = await operator.as('test_run_1').post<Comment>(path, { body: 'by a run' });
      expect(byRun.status).toBe(201);
      const { body } = await operator.get<Comment[]>(`${path}?order=asc`);
      expect(body).toMatchObject([
        { authorType: 'user', authorAgentId: null, createdByRunId: null, body: 'by the operator' },
        { authorType: 'agent', authorAgentId: agentId, createdByRunId: null, body: 'by a key' },
        { authorType: 'agent', authorAgentId: agentId, createdByRunId: runId, body: 'by a run' },
      ]);
      const sql = `select agent_id, run_id from activity_log where action = 'issue.comment_added' and entity_id = $1
                   order by seq desc limit 1`;
      expect(await app.database.query(sql, [id])).toEqual([{ agent_id: agentId, run_id: runId }]);
    });

    it('are listed newest first, after a given one, and in pages', async () => {
      const { identifier } = await create({ title: 'Long talk' });
      const path = `/issues/${identifier}/comments`;
      const said: Comment[] = [];
      for (const body of ['one', 'two', 'three']) said.push((await operator.post<Comment>(path, { body })).body);
      const bodies = async (query: string) =>
        (await operator.get<Comment[]>(`${path}${query}`)).body.map(({ body }) => body);
      expect(await bodies('')).toEqual(['three', 'two', 'one']);
      expect(await bodies(`?order=asc&afterCommentId=${said[0]?.id}`)).toEqual(['two', 'three']);
      expect(await bodies(`?afterCommentId=${said[2]?.id}&limit=1`)).toEqual(['two']);
      const page = await operator.get(`${path}?order=asc&limit=2`);
      const next = /<\/api[^?]*(\?.*)>/.exec(page.headers.get('link') ?? '')?.[1];
      expect(await bodies(next ?? '')).toEqual(['three']);
    });

    it.each([
      ['nothing', ''],
      ['more than 64 KiB', 'é'.repeat(32_769)],
      ['null', null],
    ])('refuse %s', async (_name, body) => {
      const { id } = await create({ title: 'Quiet' });
      expect((await operator.post(`/issues/${id}/comments`, { body })).status).toBe(400);
    });

    it('are said once under one idempotency key', async () => {
      const { id } = await create({ title: 'Echo' });
      const client = operator.with({ 'idempotency-key': 'say-once' });
      const first = await client.post<Comment>(`/issues/${id}/comments`, { body: 'once' });
      const second = await client.post<Comment>(`/issues/${id}/comments`, { body: 'once' });
      expect(second.body).toEqual(first.body);
      expect((await operator.get<Comment[]>(`/issues/${id}/comments`)).body).toHaveLength(1);
    });
  });

  describe('to an agent', () => {
    it('may be made, changed and commented in its own company, and not deleted', async () => {
      const made = await agent.post<Issue>(`/companies/${companyId}/issues`, { title: 'By an agent' });
      expect(made.status).toBe(201);
      expect((await agent.patch(`/issues/${made.body.id}`, { status: 'done' })).status).toBe(200);
      expect((await agent.post(`/issues/${made.body.id}/comments`, { body: 'done' })).status).toBe(201);
      expect((await agent.delete(`/issues/${made.body.id}`)).status).toBe(403);
    });

    it('are not there in another company', async () => {
      const { id, identifier } = await create({ title: 'Foreign' }, otherCompanyId);
      const answers = await Promise.all([
        agent.get(`/issues/${id}`),
        agent.get(`/issues/${identifier}`),
        agent.patch(`/issues/${id}`, { title: 'Mine' }),
        agent.delete(`/issues/${id}`),
        agent.get(`/issues/${id}/comments`),
        agent.post(`/issues/${id}/comments`, { body: 'hello' }),
        agent.get(`/companies/${otherCompanyId}/issues`),
        agent.post(`/companies/${otherCompanyId}/issues`, { title: 'Mine' }),
      ]);
      expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(404));
    });
  });
});
