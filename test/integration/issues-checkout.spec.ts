import { newId } from '../../src/database/id.js';
import { ApiClient, type Refusal } from '../support/api-client.js';
import { startTestApp, type TestApp } from '../support/test-app.js';
import { WAKES } from '../support/wakes.js';

interface Issue {
  id: string;
  status: string;
  assigneeAgentId: string | null;
}

describe('taking up issues', () => {
  let app: TestApp;
  let operator: ApiClient;
  let companyId: string;
  let crew: { id: string; api: ApiClient }[];

  beforeAll(async () => {
    app = await startTestApp();
    operator = new ApiClient(app.url);
    companyId = (await operator.post<{ id: string }>('/companies', { name: 'Deck' })).body.id;
    crew = [];
    for (const name of ['mate', 'bosun', 'cook', 'cabin boy']) {
      const body = { name, adapterConfig: { command: 'true' } };
      const { id } = (await operator.post<{ id: string }>(`/companies/${companyId}/agents`, body)).body;
      const key = await operator.post<{ token: string }>(`/agents/${id}/keys`, { name: 'key' });
      crew.push({ id, api: operator.as(key.body.token) });
    }
  });
  afterAll(() => app.close());

  const makeIssue = async (fields: object = {}) =>
    (await operator.post<Issue>(`/companies/${companyId}/issues`, { title: 'Swab', ...fields })).body.id;
  const issue = async (id: string) => (await operator.get<Issue>(`/issues/${id}`)).body;
  const actionsOn = async (id: string) => {
    const sql = `select action from activity_log where entity_type = 'issue' and entity_id = $1 order by seq`;
    return (await app.database.query<{ action: string }>(sql, [id])).map(({ action }) => action);
  };
  const mate = () => crew[0];
  const bosun = () => crew[1];

  describe('checkout', () => {
    it.each(['todo', 'backlog', 'blocked'])('takes up an issue that is %s, and wakes nobody for it', async (status) => {
      const id = await makeIssue({ status });
      const { id: agentId, api } = mate();
      const answer = await api.post<Issue>(`/issues/${id}/checkout`, { agentId: agentId.toUpperCase() });
      expect(answer.status).toBe(200);
      expect(answer.body).toMatchObject({ status: 'in_progress', assigneeAgentId: agentId });
      expect(await actionsOn(id)).toEqual(['issue.created', 'issue.status_changed', 'issue.assigned']);
      expect(await app.database.query(`select 1 from ${WAKES} where issue_id = $1`, [id])).toEqual([]);
    });

    it('changes nothing when repeated', async () => {
      const id = await makeIssue();
      for (let times = 0; times < 2; times += 1) {
        expect((await mate().api.post(`/issues/${id}/checkout`, { agentId: mate().id })).status).toBe(200);
      }
      expect(await actionsOn(id)).toHaveLength(3);
    });

    it('is refused while another agent has it, saying who', async () => {
      const id = await makeIssue({ assigneeAgentId: bosun().id, status: 'backlog' });
      const { status, body } = await mate().api.post<Refusal>(`/issues/${id}/checkout`, { agentId: mate().id });
      expect([status, body.code]).toEqual([409, 'issue_held']);
      expect(body.details).toEqual({ issueId: id, status: 'backlog', assigneeAgentId: bosun().id });
    });

    it('is refused in a status that is not expected', async () => {
      const id = await makeIssue({ status: 'done' });
      const agentId = mate().id;
      const refused = await mate().api.post<Refusal>(`/issues/${id}/checkout`, { agentId });
      expect([refused.status, refused.body.details]).toEqual([
        409,
        { issueId: id, status: 'done', assigneeAgentId: null },
      ]);
      const body = { agentId, expectedStatuses: ['done', 'cancelled'] };
      expect((await mate().api.post(`/issues/${id}/checkout`, body)).status).toBe(200);
      expect(await actionsOn(id)).toContain('issue.reopened');
    });

    it('is for the agent itself only, unless an operator does it', async () => {
      const id = await makeIssue();
      const body = { agentId: bosun().id };
      const { status, body: refusal } = await mate().api.post<Refusal>(`/issues/${id}/checkout`, body);
      expect([status, refusal.code]).toEqual([403, 'checkout_for_others']);
      expect((await operator.post(`/issues/${id}/checkout`, body)).status).toBe(200);
      expect((await operator.post(`/issues/${await makeIssue()}/checkout`, { agentId: newId() })).status).toBe(422);
    });

    it('goes to one of those who ask at once', async () => {
      const id = await makeIssue();
      const answers = await Promise.all(
        crew.map(({ id: agentId, api }) => api.post<Issue>(`/issues/${id}/checkout`, { agentId })),
      );
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 409, 409, 409]);
      const winner = answers.findIndex(({ status }) => status === 200);
      expect((await issue(id)).assigneeAgentId).toBe(crew[winner]?.id);
    });

    it.each([{}, { agentId: 'me' }, { expectedStatuses: [] }, { expectedStatuses: ['odd'] }])(
      'refuses %j',
      async (body) => {
        const id = await makeIssue();
        const agentId = 'agentId' in body || Object.keys(body).length === 0 ? {} : { agentId: mate().id };
        expect((await operator.post(`/issues/${id}/checkout`, { ...agentId, ...body })).status).toBe(400);
      },
    );
  });

  describe('release', () => {
    it('gives an open issue back', async () => {
      const id = await makeIssue();
      await mate().api.post(`/issues/${id}/checkout`, { agentId: mate().id });
      for (let times = 0; times < 2; times += 1) {
        const { status, body } = await mate().api.post<Issue>(`/issues/${id}/release`);
        expect([status, body.status, body.assigneeAgentId]).toEqual([200, 'todo', null]);
      }
      expect((await actionsOn(id)).slice(3)).toEqual(['issue.status_changed', 'issue.unassigned']);
    });

    it('does not open a closed one', async () => {
      const id = await makeIssue({ status: 'done', assigneeAgentId: mate().id });
      await mate().api.post(`/issues/${id}/release`);
      expect(await issue(id)).toMatchObject({ status: 'done', assigneeAgentId: null });
    });

    it('is refused to an agent that does not have it', async () => {
      const id = await makeIssue({ status: 'backlog', assigneeAgentId: bosun().id });
      const { status, body } = await mate().api.post<Refusal>(`/issues/${id}/release`);
      expect([status, body.code]).toEqual([409, 'issue_held']);
      expect((await operator.post<Issue>(`/issues/${id}/release`)).body.assigneeAgentId).toBeNull();
    });

    it('does not show another company’s issue', async () => {
      const elsewhere = (await operator.post<{ id: string }>('/companies', { name: 'Elsewhere' })).body.id;
      const { id } = (await operator.post<Issue>(`/companies/${elsewhere}/issues`, { title: 'Foreign' })).body;
      expect((await mate().api.post(`/issues/${id}/release`)).status).toBe(404);
      expect((await mate().api.post(`/issues/${id}/checkout`, { agentId: mate().id })).status).toBe(404);
    });
  });
});
