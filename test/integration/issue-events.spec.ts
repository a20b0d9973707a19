import { EntityManager } from '@mikro-orm/postgresql';
import { EventEmitter2 } from '@nestjs/event-emitter';
import { CredentialResolvers } from '../../src/auth/credential-resolvers.js';
import { newId } from '../../src/database/id.js';
import { inTransaction } from '../../src/database/transaction.js';
import { IssueCommentsService } from '../../src/issues/issue-comments.service.js';
import { IssueAssigned, IssueCommented, IssueReopened } from '../../src/issues/issues.events.js';
import { ApiClient, type Refusal } from '../support/api-client.js';
import { holdTransaction } from '../support/held-transaction.js';
import { startTestApp, type TestApp } from '../support/test-app.js';
import { rounds } from '../support/rounds.js';

const RUN_TOKEN = 'test_run_1';

type Waking = IssueAssigned | IssueCommented | IssueReopened;

/** One event, and what its transaction held when it was recorded. */
interface Heard {
  event: Waking;
  /** The agents that nobody else could lock then. */
  heldAgents: string[];
}

describe('what issues tell of those they may wake', () => {
  let app: TestApp;
  let operator: ApiClient;
  let companyId: string;
  let runId: string;
  let alice: string;
  let bob: string;
  let cook: string;
  let byAlice: ApiClient;
  let heard: Heard[];

  beforeAll(async () => {
    app = await startTestApp();
    operator = new ApiClient(app.url);
    companyId = (await operator.post<{ id: string }>('/companies', { name: 'Telling' })).body.id;
    [alice, bob, cook] = [await makeAgent('Alice'), await makeAgent('Bob'), await makeAgent('Ship’s Cook')];
    runId = await makeRun(alice);
    app.get(CredentialResolvers).register({
      prefix: 'test_run_',
      resolve: () => Promise.resolve({ type: 'agent', id: alice, companyId, runId }),
    });
    byAlice = operator.as(RUN_TOKEN);
    for (const { wireName } of [IssueAssigned, IssueCommented, IssueReopened]) {
      app.get(EventEmitter2).on(`tx:${wireName}`, (event: Waking): unknown => hear(event));
    }
  });
  beforeEach(() => (heard = []));
  afterAll(() => app.close());

  /** Not woken on demand: nothing runs here. */
  const makeAgent = async (name: string) => {
    const runtimeConfig = { heartbeat: { wakeOnDemand: false } };
    return (await operator.post<{ id: string }>(`/companies/${companyId}/agents`, { name, runtimeConfig })).body.id;
  };
  const makeRun = async (agentId: string) => {
    const id = newId();
    await app.database.query(
      `insert into heartbeat_runs (id, company_id, agent_id, invocation_source, status, due_at)
       values ($1, $2, $3, 'on_demand', 'queued', now() + interval '1 hour')`,
      [id, companyId, agentId],
    );
    return id;
  };
  const makeIssue = async (fields: object = {}) =>
    (await operator.post<{ id: string }>(`/companies/${companyId}/issues`, { title: 'Told', ...fields })).body.id;
  const comment = async (issueId: string, body: string, client = operator) => {
    const answer = await client.post<{ id: string }>(`/issues/${issueId}/comments`, { body });
    expect(answer.status).toBe(201);
    return answer.body.id;
  };
  const lockedAgents = async () => {
    const sql = `select id from agents where company_id = $1 for no key update skip locked`;
    const free = new Set((await app.database.query<{ id: string }>(sql, [companyId])).map(({ id }) => id));
    return [alice, bob, cook].filter((id) => !free.has(id));
  };
  const hear = async (event: Waking) => heard.push({ event, heldAgents: await lockedAgents() });
  const heardOf = <E extends Waking>(type: new (...args: never[]) => E) =>
    heard.map(({ event }) => event).filter((event) => event instanceof type);
  const names = () => heard.map(({ event }) => event.constructor.name);
  /** What the tests made before they look. */
  const forget = () => (heard = []);

  describe(IssueAssigned.name, () => {
    it.each(['backlog', 'todo', 'done'])('is told of an issue that is made with an assignee as %s', async (status) => {
      const id = await makeIssue({ assigneeAgentId: bob.toUpperCase(), status });
      const isOpen = status !== 'done';
      expect(heardOf(IssueAssigned)).toMatchObject([
        { issueId: id, assigneeAgentId: bob, agentId: bob, issueStatus: status, isOpen },
      ]);
      expect(heard[0]?.heldAgents).toEqual([bob]);
    });

    it('is told with the old and the new assignee held', async () => {
      const id = await makeIssue({ assigneeAgentId: bob });
      forget();
      await operator.patch(`/issues/${id}`, { assigneeAgentId: alice });
      expect(heardOf(IssueAssigned)).toMatchObject([{ assigneeAgentId: alice, isOpen: true }]);
      expect(heard[0]?.heldAgents).toEqual([alice, bob]);
    });

    it('is not told of the same assignee again, however its id is written', async () => {
      const id = await makeIssue({ assigneeAgentId: bob });
      forget();
      for (const same of [bob, bob.toUpperCase()]) await operator.patch(`/issues/${id}`, { assigneeAgentId: same });
      expect(heard).toEqual([]);
    });

    it('follows the status that came with it', async () => {
      const id = await makeIssue();
      await operator.patch(`/issues/${id}`, { assigneeAgentId: bob, status: 'cancelled' });
      expect(heardOf(IssueAssigned)).toMatchObject([{ issueStatus: 'cancelled', isOpen: false }]);
    });
  });

  describe(IssueReopened.name, () => {
    it.each(['done', 'cancelled'])('is told when an issue that was %s is open again', async (status) => {
      const id = await makeIssue({ assigneeAgentId: bob, status });
      forget();
      await operator.patch(`/issues/${id}`, { status: 'todo' });
      expect(heardOf(IssueReopened)).toMatchObject([{ issueId: id, assigneeAgentId: bob, isOpen: true }]);
      expect(heard[0]?.heldAgents).toEqual([bob]);
      const sql = `select action, agent_id from activity_log where entity_id = $1 order by seq desc limit 2`;
      expect(await app.database.query(sql, [id])).toEqual([
        { action: 'issue.reopened', agent_id: bob },
        { action: 'issue.status_changed', agent_id: null },
      ]);
    });

    it.each([
      ['todo', 'in_progress'],
      ['todo', 'done'],
      ['done', 'cancelled'],
    ])('is not told of %s to %s', async (from, to) => {
      const id = await makeIssue({ assigneeAgentId: bob, status: from });
      forget();
      await operator.patch(`/issues/${id}`, { status: to });
      expect(heard).toEqual([]);
    });

    it('names the new assignee, and comes before the assignment and the comment', async () => {
      const id = await makeIssue({ assigneeAgentId: bob, status: 'done' });
      forget();
      await operator.patch(`/issues/${id}`, { comment: 'Again, @alice', status: 'todo', assigneeAgentId: cook });
      expect(names()).toEqual([IssueReopened.name, IssueAssigned.name, IssueCommented.name]);
      expect(heardOf(IssueReopened)).toMatchObject([{ assigneeAgentId: cook }]);
      expect(heardOf(IssueCommented)).toMatchObject([
        { assigneeAgentId: cook, issueStatus: 'todo', mentionedAgentIds: [alice] },
      ]);
      for (const { heldAgents } of heard) expect(heldAgents).toEqual([alice, bob, cook]);
    });
  });

  describe(IssueCommented.name, () => {
    it('says whom the comment calls and who has the issue, all of them held', async () => {
      const id = await makeIssue({ assigneeAgentId: bob });
      forget();
      const commentId = await comment(id, 'Please look, @alice and @SHIP’S COOK. Not me@bob.example!');
      expect(heardOf(IssueCommented)).toMatchObject([
        {
          issueId: id,
          commentId,
          authorAgentId: null,
          runId: null,
          assigneeAgentId: bob,
          issueStatus: 'todo',
          isOpen: true,
          mentionedAgentIds: [alice, cook],
        },
      ]);
      expect(heard[0]?.heldAgents).toEqual([alice, bob, cook]);
    });

    it('does not say that its author calls itself', async () => {
      const id = await makeIssue();
      await comment(id, 'I, @alice, ask @bob', byAlice);
      expect(heardOf(IssueCommented)).toMatchObject([
        { authorAgentId: alice, runId, mentionedAgentIds: [bob], isResult: false },
      ]);
    });

    it('says so when the issue is closed, also by the change that it came with', async () => {
      const id = await makeIssue({ assigneeAgentId: bob, status: 'done' });
      await comment(id, 'thanks');
      const other = await makeIssue({ assigneeAgentId: bob });
      await byAlice.patch(`/issues/${other}`, { status: 'done', comment: 'done' });
      expect(heardOf(IssueCommented)).toMatchObject([
        { isOpen: false, authorAgentId: null },
        { isOpen: false, authorAgentId: alice, runId, issueStatus: 'done' },
      ]);
    });

    it('calls terminated agents, and neither deleted ones nor those of another company', async () => {
      const [ended, gone] = [await makeAgent('Ended'), await makeAgent('Gone')];
      await operator.post(`/agents/${ended}/terminate`);
      await operator.delete(`/agents/${gone}`);
      const elsewhere = (await operator.post<{ id: string }>('/companies', { name: 'Elsewhere' })).body.id;
      await operator.post(`/companies/${elsewhere}/agents`, { name: 'Foreign' });
      await comment(await makeIssue(), '@ended @gone @foreign');
      expect(heardOf(IssueCommented)).toMatchObject([{ mentionedAgentIds: [ended] }]);
    });

    it('does not call an agent that is deleted meanwhile', async () => {
      const id = await makeIssue();
      const leaving = await makeAgent('Leaving');
      const deletion = `update agents set status = 'terminated', deleted_at = now() where id = $1`;
      const held = await holdTransaction(app.database, deletion, [leaving]);
      const said = comment(id, '@leaving, stay');
      await held.blocksSomebody();
      await held.commit();
      await said;
      expect(heardOf(IssueCommented)).toMatchObject([{ mentionedAgentIds: [] }]);
    });

    it.each(['paused', 'terminated', 'deleted'])('is said also on the issue of an agent that is %s', async (state) => {
      const adapterConfig = { command: 'true' };
      const body = { name: `A ${state} one`, adapterConfig };
      const { id: owner } = (await operator.post<{ id: string }>(`/companies/${companyId}/agents`, body)).body;
      const id = await makeIssue({ assigneeAgentId: owner, status: 'done' });
      if (state === 'deleted') await operator.delete(`/agents/${owner}`);
      else await operator.post(`/agents/${owner}/${state === 'paused' ? 'pause' : 'terminate'}`);
      await comment(id, `@A ${state} one, are you there?`);
      expect((await operator.patch(`/issues/${id}`, { status: 'todo', comment: 'Well?' })).status).toBe(200);
      expect(heardOf(IssueCommented)).toMatchObject([{ assigneeAgentId: owner }, { assigneeAgentId: owner }]);
    });

    it('records whom it calls', async () => {
      const id = await makeIssue();
      const commentId = await comment(id, '@bob');
      const sql = `select details from activity_log where entity_id = $1 and action = 'issue.comment_added'`;
      const [entry] = await app.database.query<{ details: object }>(sql, [id]);
      expect(entry?.details).toMatchObject({ commentId, mentionedAgentIds: [bob] });
    });
  });

  describe('while the issue is being given to somebody else', () => {
    it.each([
      ['from one to another', () => bob],
      ['to the first', () => null],
    ])('%s, a comment starts over and holds the new assignee', async (_name, before) => {
      const id = await makeIssue({ assigneeAgentId: before() });
      forget();
      const held = await holdTransaction(app.database, 'update issues set assignee_agent_id = $2 where id = $1', [
        id,
        cook,
      ]);
      const said = comment(id, 'Hello, @alice');
      await held.blocksSomebody();
      await held.commit();
      await said;
      expect(heardOf(IssueCommented)).toMatchObject([{ assigneeAgentId: cook, mentionedAgentIds: [alice] }]);
      expect(heard[0]?.heldAgents).toEqual([alice, cook]);
    });

    it('a comment is not said about an issue that is deleted', async () => {
      const id = await makeIssue();
      const held = await holdTransaction(app.database, 'update issues set deleted_at = now() where id = $1', [id]);
      const said = operator.post<Refusal>(`/issues/${id}/comments`, { body: 'too late' });
      await held.blocksSomebody();
      await held.commit();
      expect((await said).status).toBe(404);
      expect(heard).toEqual([]);
    });

    it('changes and comments of several people end, and each is told', async () => {
      const id = await makeIssue({ assigneeAgentId: alice });
      forget();
      const crew = [alice, bob, cook];
      const answers = await Promise.all(
        Array.from({ length: 24 }, (_, n) =>
          n % 2 === 0
            ? operator.patch(`/issues/${id}`, { assigneeAgentId: crew[(n / 2) % 3] })
            : operator.post(`/issues/${id}/comments`, { body: '@ship’s cook @alice @bob' }),
        ),
      );
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200, 201]));
      expect(heardOf(IssueCommented)).toHaveLength(12);
      for (const { event, heldAgents } of heard) expect(heldAgents).toContain(event.assigneeAgentId);
    });
  });

  describe(IssueCommentsService.name, () => {
    const addResult = (issueId: string, body: string) =>
      inTransaction(app.get(EntityManager), () =>
        app.get(IssueCommentsService).addResults([{ companyId, issueId, agentId: alice, runId, body }]),
      );
    const commentsOn = async (issueId: string) =>
      (await operator.get<{ id: string; body: string }[]>(`/issues/${issueId}/comments`)).body;

    it('leaves a run’s result as its agent’s comment, which calls nobody and locks nothing', async () => {
      const id = await makeIssue({ assigneeAgentId: alice });
      forget();
      await addResult(id, 'All clear, @bob');
      expect(await commentsOn(id)).toMatchObject([
        { authorType: 'agent', authorAgentId: alice, createdByRunId: runId, body: 'All clear, @bob' },
      ]);
      expect(heardOf(IssueCommented)).toMatchObject([
        { authorAgentId: alice, runId, assigneeAgentId: alice, isOpen: true, mentionedAgentIds: [], isResult: true },
      ]);
      expect(heard[0]?.heldAgents).toEqual([]);
    });

    it('cuts a result that is too long for a comment', async () => {
      const id = await makeIssue();
      await addResult(id, 'é'.repeat(40_000));
      const [only] = await commentsOn(id);
      expect(only?.body).toMatch(/^é+\n\n\[Cut here: the run's result has 80000 bytes\.\]$/u);
      expect(Buffer.byteLength(only?.body ?? '')).toBeLessThanOrEqual(65_536);
    });

    it('leaves nothing for a result that says nothing', async () => {
      const id = await makeIssue();
      expect(await addResult(id, ' \n')).toEqual(new Set());
      expect(await commentsOn(id)).toEqual([]);
      expect(heard).toEqual([]);
    });

    it('finds comments in the order of their ids, of that issue only', async () => {
      const [id, other] = [await makeIssue(), await makeIssue()];
      const [first, second] = [await comment(id, 'first'), await comment(id, 'second')];
      const ids = [second, await comment(other, 'other'), newId(), first];
      const found = await inTransaction(app.get(EntityManager), () =>
        app.get(IssueCommentsService).byIds(companyId, id, ids),
      );
      expect(found.map(({ body }) => body)).toEqual(['second', 'first']);
    });
  });

  describe('an agent that is woken, paused and resumed', () => {
    it('never stands in a deadlock with two people who comment', async () => {
      const agents = [await makeBusyAgent('Busy'), await makeBusyAgent('Hasty')];
      const issues = [await makeIssue({ assigneeAgentId: agents[0] }), await makeIssue({ assigneeAgentId: agents[1] })];
      const statuses: number[] = [];
      for (let round = 0; round < rounds(50); round += 1) {
        const verb = round % 2 === 0 ? 'pause' : 'resume';
        const answers = await Promise.all([
          operator.post(`/issues/${issues[0]}/comments`, { body: `@hasty, ${round}` }),
          operator.post(`/issues/${issues[1]}/comments`, { body: `@busy, ${round}` }),
          ...agents.map((id) => operator.post(`/agents/${id}/${verb}`)),
          ...agents.map((id, n) => operator.post(`/agents/${id}/wakeup`, { payload: { issueId: issues[n] } })),
          operator.patch(`/issues/${issues[round % 2]}`, { assigneeAgentId: agents[(round >> 1) % 2] }),
        ]);
        statuses.push(...answers.map(({ status }) => status));
      }
      // A person's wake of a paused agent is refused with 409.
      expect(new Set(statuses)).toEqual(new Set([200, 201, 202, 409]));
      const sql = 'select deadlocks::int from pg_stat_database where datname = current_database()';
      expect(await app.database.query(sql)).toEqual([{ deadlocks: 0 }]);
    }, 60_000);

    const makeBusyAgent = async (name: string) => {
      const adapterConfig = { command: 'true' };
      return (await operator.post<{ id: string }>(`/companies/${companyId}/agents`, { name, adapterConfig })).body.id;
    };
  });
});
