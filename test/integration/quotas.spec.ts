import type { Refusal } from '../support/api-client.js';
import { rounds } from '../support/rounds.js';
import { Scenario, type ActivityEntry } from '../support/scenario.js';
import { startStillApp, Steps } from '../support/still-app.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

const LIMIT = 3;
const AT_ONCE = 8;

describe('quotas of a company', () => {
  let app: TestApp;
  let user: Scenario;
  let steps: Steps;
  let companyId: string;

  beforeAll(async () => {
    app = await startStillApp();
    user = new Scenario(app.url);
    steps = new Steps(app);
  });
  beforeEach(async () => {
    await steps.clear();
    companyId = await user.company();
  });
  afterAll(() => app.close());

  const limit = async (limits: object) => {
    expect((await user.api.patch(`/companies/${companyId}`, limits)).status).toBe(200);
  };
  const atOnce = <T>(ask: (n: number) => Promise<T>) => Promise.all(Array.from({ length: AT_ONCE }, (_, n) => ask(n)));
  const statuses = (answers: { status: number }[]) => answers.map(({ status }) => status).toSorted();
  const allBut = (made: number, refused: number, count = LIMIT) => [
    ...Array<number>(count).fill(made),
    ...Array<number>(AT_ONCE - count).fill(refused),
  ];

  describe.each([
    ['agents', { maxAgents: LIMIT }, (n: number) => ({ name: `agent ${n}` })],
    ['environments', { maxEnvironments: LIMIT }, (n: number) => ({ name: `berth ${n}`, driver: 'local' })],
  ])('of %s', (what, limits, fields) => {
    const add = (n: number) => user.api.post<Refusal & { id: string }>(`/companies/${companyId}/${what}`, fields(n));

    it('are named where they are reached', async () => {
      await limit({ [Object.keys(limits)[0]]: 1 });
      await add(0);
      expect(await add(1)).toMatchObject({
        status: 422,
        body: { code: `${what}_quota_reached`, details: { limit: 1 }, error: expect.stringContaining(`1 ${what}`) },
      });
    });

    it('end with them', async () => {
      await limit({ [Object.keys(limits)[0]]: 1 });
      const { body } = await add(0);
      await user.api.delete(`/${what}/${body.id}`);
      expect((await add(1)).status).toBe(201);
    });
  });

  it(`give no more agents than ${LIMIT} to ${AT_ONCE} who come at once`, async () => {
    await limit({ maxAgents: LIMIT });
    const add = (n: number) => user.api.post<{ id: string }>(`/companies/${companyId}/agents`, { name: `agent ${n}` });
    for (let round = 0; round < rounds(9); round++) {
      const answers = await atOnce(add);
      expect(statuses(answers)).toEqual(allBut(201, 422));
      const made = answers.filter(({ status }) => status === 201);
      await Promise.all(made.map(({ body }) => user.api.delete(`/agents/${body.id}`)));
    }
  });

  it('let a run have its Local, and say so only to who makes another', async () => {
    await limit({ maxEnvironments: 1 });
    await app.database.query(
      `insert into environments (id, company_id, name, driver) values (gen_random_uuid(), $1, 'build box', 'test')`,
      [companyId],
    );
    await user.wake(await user.agent(companyId, 'true'));
    expect((await steps.started()).environment.name).toBe('Local');
  });

  it('can be taken away, and changed by nobody but an operator', async () => {
    await limit({ maxAgents: null, maxEnvironments: null, maxQueuedRuns: null });
    const agentId = await user.agent(companyId, 'true');
    await user.wake(agentId);
    const { body } = await user.api.post<{ token: string }>(`/agents/${agentId}/keys`, { name: 'k' });
    const raise = await user.api.as(body.token).patch(`/companies/${companyId}`, { maxAgents: 5 });
    expect(raise.status).toBe(403);
    for (const wrong of [0, -1, 1.5, '5']) {
      expect((await user.api.patch(`/companies/${companyId}`, { maxQueuedRuns: wrong })).status).toBe(400);
    }
  });

  describe('of runs that wait to start', () => {
    let agentId: string;
    beforeEach(async () => {
      agentId = await user.agent(companyId, 'true');
      await limit({ maxQueuedRuns: LIMIT });
    });

    const wake = (n: number, key?: string) =>
      user.api
        .with(key ? { 'idempotency-key': `${key}-${companyId}` } : {})
        .post<Refusal>(`/agents/${agentId}/wakeup`, { payload: { taskKey: `task ${n}` } });
    const waiting = async () =>
      (await app.database.query('select 1 from heartbeat_runs where company_id = $1', [companyId])).length;

    it('refuse a wake that asks for one more, and say when to come again', async () => {
      for (let n = 0; n < LIMIT; n++) expect((await wake(n)).status).toBe(202);
      const refused = await wake(LIMIT);
      expect(refused).toMatchObject({
        status: 429,
        body: { code: 'queued_runs_quota_reached', details: { limit: LIMIT } },
      });
      expect(refused.headers.get('retry-after')).toBe('10');
      expect(await wake(0)).toMatchObject({ status: 202, body: { wakeStatus: 'coalesced' } });
      await steps.started();
      expect((await wake(LIMIT)).status).toBe(202);
    });

    it('hold for wakes that come at once', async () => {
      expect(statuses(await atOnce((n) => wake(n)))).toEqual(allBut(202, 429));
      expect(await waiting()).toBe(LIMIT);
    });

    it('hold for wakes that come at once in transactions of their own', async () => {
      expect(statuses(await atOnce((n) => wake(n, `key ${n}`)))).toEqual(allBut(202, 429));
      expect(await waiting()).toBe(LIMIT);
    });

    it('hold for two processes', async () => {
      const other = await startTestApp({ database: app.database, config: { roles: new Set(['api']) } });
      const there = new Scenario(other.url).api;
      const answers = await atOnce((n) =>
        (n % 2 ? there : user.api).post(`/agents/${agentId}/wakeup`, { payload: { taskKey: `task ${n}` } }),
      );
      expect(statuses(answers)).toEqual(allBut(202, 429));
      await other.close();
    });

    it('skip a wake that an event gives rise to, and never fail the event', async () => {
      for (let n = 0; n < LIMIT; n++) await wake(n);
      const issueId = await user.issue(companyId, { assigneeAgentId: agentId });
      expect(await waiting()).toBe(LIMIT);
      const { body } = await user.api.get<ActivityEntry[]>(`/companies/${companyId}/activity?action=heartbeat.skipped`);
      expect(body).toMatchObject([{ details: { reason: 'queued_runs_quota_reached' } }]);
      const commented = await user.api.post(`/issues/${issueId}/comments`, { body: 'Still here?' });
      expect(commented.status).toBe(201);
    });
  });
});
