import { Promotions } from '../../src/heartbeat/ending/promotions.js';
import { eventually } from '../support/eventually.js';
import { HandRunner, isAlive, OUTCOMES } from '../support/hand-runner.js';
import { Scenario, type ActivityEntry, type Run } from '../support/scenario.js';
import { startStillApp } from '../support/still-app.js';
import { startTestApp, type TestApp } from '../support/test-app.js';
import { rounds } from '../support/rounds.js';
import { WAKES } from '../support/wakes.js';

const ROUNDS = rounds(30);
const ENDED = ['succeeded', 'failed', 'cancelled', 'timed_out'];

interface RunOfAgent {
  id: string;
  status: string;
  error: string | null;
  cancel_requested_at: Date | null;
}

describe('what stops runs', () => {
  let app: TestApp;
  let user: Scenario;
  let hand: HandRunner;
  let companyId: string;

  beforeAll(async () => {
    app = await startStillApp();
    user = new Scenario(app.url);
    hand = new HandRunner(app);
  });
  beforeEach(async () => void (companyId = await user.company()));
  afterAll(() => app.close());

  const agent = () => user.agent(companyId, 'true');
  const stop = (agentId: string, how: string, body: object = {}) => user.api.post(`/agents/${agentId}/${how}`, body);
  const wake = (agentId: string, payload: object = {}) => user.api.post<Run>(`/agents/${agentId}/wakeup`, { payload });
  const cancel = (runId: string) => user.api.post<Run>(`/heartbeat-runs/${runId}/cancel`, { reason: 'not needed' });
  const runsOf = (agentId: string) =>
    app.database.query<RunOfAgent>('select * from heartbeat_runs where agent_id = $1 order by id', [agentId]);
  const wakesOf = (agentId: string) =>
    app.database.query<{ status: string; status_reason: string | null }>(
      `select status, status_reason from ${WAKES} where agent_id = $1 order by id`,
      [agentId],
    );
  const recordsOf = async (agentId: string, action: string) => {
    const { body } = await user.api.get<(ActivityEntry & { agentId: string })[]>(
      `/companies/${companyId}/activity?limit=200`,
    );
    return body.filter((entry) => entry.agentId === agentId && entry.action === action);
  };
  /** An agent with a run, a queued one and a scheduled retry. */
  async function busyAgent() {
    const agentId = await agent();
    await wake(agentId, { taskKey: 'a' });
    const retry = await hand.failTransiently(agentId);
    await wake(agentId, { taskKey: 'b' });
    const running = await hand.started(agentId);
    const { body: queued } = await wake(agentId, { taskKey: 'c' });
    return { agentId, running, retryId: retry.id, queuedId: queued.id };
  }
  /** A running run on an issue of one agent, and another agent whose wake waits for it. */
  async function withDeferred() {
    const [worker, waiter] = [await agent(), await agent()];
    const issueId = await user.issue(companyId);
    await wake(worker, { issueId });
    const run = await hand.started(worker);
    expect((await wake(waiter, { issueId })).body).toMatchObject({ status: 'deferred_issue_execution' });
    return { worker, waiter, issueId, run };
  }

  describe('a pause', () => {
    it('without drain cancels what one with drain had left, and is recorded once for that', async () => {
      const { agentId, running, queuedId } = await busyAgent();
      await stop(agentId, 'pause', { drain: true });
      expect(await user.run(queuedId)).toMatchObject({ status: 'queued' });
      await stop(agentId, 'pause', { drain: true });
      await stop(agentId, 'pause');
      await stop(agentId, 'pause');
      expect(await user.run(queuedId)).toMatchObject({ status: 'cancelled', error: 'The agent was paused' });
      expect(await runsOf(agentId)).toContainEqual(
        expect.objectContaining({ id: running.id, cancel_requested_at: expect.any(Date) as Date }),
      );
      expect(await recordsOf(agentId, 'agent.paused')).toHaveLength(2);
    });

    it('cancels what waits at once, and wishes that what runs ends', async () => {
      const { agentId, running, retryId, queuedId } = await busyAgent();
      expect((await stop(agentId, 'pause')).body).toMatchObject({ status: 'paused' });
      for (const id of [retryId, queuedId]) {
        expect(await user.run(id)).toMatchObject({ status: 'cancelled', error: 'The agent was paused' });
        expect((await user.actions(companyId, id)).at(-1)).toBe('heartbeat.cancelled');
      }
      expect(await hand.row(running.id)).toMatchObject({ status: 'running', cancel_requested_at: expect.any(Date) });
      await hand.end(running, OUTCOMES.shutdown);
      expect(await hand.row(running.id)).toMatchObject({ status: 'cancelled' });
      expect(await hand.successorsOf(running.id)).toEqual([]);
      expect((await wakesOf(agentId)).map(({ status }) => status)).toEqual([
        'failed',
        'cancelled',
        'cancelled',
        'cancelled',
      ]);
    });

    it('lets everything be with drain, and starts nothing until the agent is resumed', async () => {
      const { agentId, running, retryId, queuedId } = await busyAgent();
      await hand.makeDue(retryId);
      await stop(agentId, 'pause', { drain: true });
      expect(await hand.start(agentId)).toBeNull();
      await hand.end(running);
      expect(await hand.row(running.id)).toMatchObject({ status: 'succeeded' });
      expect((await user.api.get<{ status: string }>(`/agents/${agentId}`)).body.status).toBe('paused');
      await stop(agentId, 'resume');
      expect(new Set([(await hand.started(agentId)).id, (await hand.started(agentId)).id])).toEqual(
        new Set([retryId, queuedId]),
      );
    });

    it('refuses wakes of people until the agent is resumed', async () => {
      const agentId = await agent();
      await stop(agentId, 'pause');
      expect(await wake(agentId)).toMatchObject({ status: 409, body: { code: 'agent_paused' } });
      await stop(agentId, 'resume');
      expect(await wake(agentId)).toMatchObject({ status: 202, body: { status: 'queued' } });
    });

    it('ends a wake that waited for an issue once that is free, and lets the next one have it', async () => {
      const { waiter, issueId, run } = await withDeferred();
      const next = await agent();
      await wake(next, { issueId });
      await stop(waiter, 'pause');
      await hand.end(run, OUTCOMES.failed);
      expect(await wakesOf(waiter)).toEqual([{ status: 'cancelled', status_reason: 'agent_paused' }]);
      expect(await recordsOf(waiter, 'heartbeat.skipped')).toMatchObject([{ details: { reason: 'agent_paused' } }]);
      expect(await runsOf(waiter)).toEqual([]);
      expect(await runsOf(next)).toMatchObject([{ status: 'queued' }]);
    });
  });

  describe('a termination', () => {
    it('cancels what waits at once, and wishes that what runs ends', async () => {
      const { agentId, running, retryId, queuedId } = await busyAgent();
      await stop(agentId, 'terminate');
      for (const id of [retryId, queuedId]) expect(await user.run(id)).toMatchObject({ status: 'cancelled' });
      await hand.lose(running);
      expect(await hand.row(running.id)).toMatchObject({ status: 'cancelled' });
      expect(await hand.successorsOf(running.id)).toEqual([]);
    });

    it('ends a wake that waits for an issue, and records that once', async () => {
      const { waiter } = await withDeferred();
      await stop(waiter, 'terminate');
      expect(await wakesOf(waiter)).toEqual([{ status: 'cancelled', status_reason: 'agent_terminated' }]);
      expect(await recordsOf(waiter, 'heartbeat.skipped')).toHaveLength(1);
    });

    it('records the end of a wake once that waits behind a run of the same agent', async () => {
      const agentId = await agent();
      const issueId = await user.issue(companyId, { assigneeAgentId: agentId });
      const run = await hand.started(agentId);
      await user.api.post(`/issues/${issueId}/comments`, { body: 'And the rope?' });
      await hand.lose(run);
      expect((await runsOf(agentId)).map(({ status }) => status)).toEqual(['failed', 'queued']);
      await stop(agentId, 'terminate');
      expect(await wakesOf(agentId)).toContainEqual({ status: 'cancelled', status_reason: 'agent_terminated' });
      expect(await recordsOf(agentId, 'heartbeat.skipped')).toHaveLength(1);
    });
  });

  describe.each(['pause', 'terminate'])('%s at the same moment as', (how) => {
    const stoppedReason = how === 'pause' ? 'agent_paused' : 'agent_terminated';

    it('a wake leaves nothing that waits', async () => {
      for (let round = 0; round < ROUNDS; round++) {
        const agentId = await agent();
        const [stopped, woken] = await Promise.all([stop(agentId, how), wake(agentId)]);
        expect(stopped.status).toBe(200);
        expect([202, 409]).toContain(woken.status);
        for (const run of await runsOf(agentId)) expect(run).toMatchObject({ status: 'cancelled' });
        for (const { status } of await wakesOf(agentId)) expect(status).toBe('cancelled');
      }
    });

    it('a start leaves nothing running that nobody wishes to end', async () => {
      for (let round = 0; round < ROUNDS; round++) {
        const agentId = await agent();
        const { body } = await wake(agentId);
        const [started] = await Promise.all([hand.start(agentId), stop(agentId, how)]);
        const [run] = await runsOf(agentId);
        expect(run).toMatchObject(
          started ? { status: 'running', cancel_requested_at: expect.any(Date) } : { status: 'cancelled' },
        );
        expect(await hand.start(agentId)).toBeNull();
        if (started) await hand.end(started);
        expect(await hand.row(body.id)).toMatchObject({ status: 'cancelled' });
      }
    });

    it('a promotion leaves neither a run nor a wake that waits', async () => {
      for (let round = 0; round < ROUNDS; round++) {
        const { waiter, run } = await withDeferred();
        const [stopped] = await Promise.all([stop(waiter, how), hand.end(run, OUTCOMES.failed)]);
        expect(stopped.status).toBe(200);
        // What the end of the run could not decide, because the agent was held, the next dispatch pass does.
        await app.get(Promotions).sweep();
        for (const one of await runsOf(waiter)) expect(one).toMatchObject({ status: 'cancelled' });
        const [ended, ...others] = await wakesOf(waiter);
        expect(others).toEqual([]);
        expect(ended.status).toBe('cancelled');
        expect([stoppedReason, 'cancelled']).toContain(ended.status_reason);
      }
    });
  });

  it('starts no run once a pause with drain has been answered', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const agentId = await agent();
      await wake(agentId);
      const [started] = await Promise.all([hand.start(agentId), stop(agentId, 'pause', { drain: true })]);
      expect(await runsOf(agentId)).toMatchObject([
        { status: started ? 'running' : 'queued', cancel_requested_at: null },
      ]);
      // Both were recorded while the agent was held, so their order is the order of what happened.
      const order = await app.database.query<{ action: string }>(
        `select action from activity_log where agent_id = $1 and action in ('heartbeat.started', 'agent.paused') order by seq`,
        [agentId],
      );
      expect(order.map(({ action }) => action)).toEqual([...(started ? ['heartbeat.started'] : []), 'agent.paused']);
      expect(await hand.start(agentId)).toBeNull();
    }
  });

  describe('a cancel', () => {
    it('ends a queued run at once, with its wake, and nothing follows', async () => {
      const agentId = await agent();
      const { body } = await wake(agentId);
      expect(await cancel(body.id)).toMatchObject({ status: 200, body: { status: 'cancelled', error: 'not needed' } });
      expect(await user.run(body.id)).toMatchObject({ startedAt: null });
      expect(await wakesOf(agentId)).toEqual([{ status: 'cancelled', status_reason: 'cancelled' }]);
      expect(await hand.successorsOf(body.id)).toEqual([]);
    });

    it('marks a running run, and whoever ends it makes it cancelled', async () => {
      for (const outcome of Object.values(OUTCOMES)) {
        const agentId = await agent();
        await wake(agentId);
        const run = await hand.started(agentId);
        expect(await cancel(run.id)).toMatchObject({ status: 200, body: { status: 'running' } });
        await cancel(run.id);
        await hand.end(run, outcome);
        expect(await hand.row(run.id)).toMatchObject({ status: 'cancelled', error_code: 'cancelled' });
        expect(await hand.successorsOf(run.id)).toEqual([]);
        expect(await recordsOf(agentId, 'heartbeat.cancel_requested')).toHaveLength(1);
      }
    });

    it.each(Object.entries(OUTCOMES))('leaves a run alone that has ended: %s', async (_name, outcome) => {
      const agentId = await agent();
      await wake(agentId);
      const run = await hand.started(agentId);
      await hand.end(run, outcome);
      const before = await hand.row(run.id);
      expect((await cancel(run.id)).status).toBe(200);
      expect(await hand.row(run.id)).toEqual(before);
      expect(await recordsOf(agentId, 'heartbeat.cancel_requested')).toEqual([]);
    });

    it('by forced releases of its lease, all at once, is one end', async () => {
      const agentId = await agent();
      await wake(agentId);
      const run = await hand.started(agentId);
      const release = () => user.api.post(`/heartbeat-runs/${run.id}/leases/release`, { force: true });
      const answers = await Promise.all(Array.from({ length: 8 }, release));
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
      expect(await hand.row(run.id)).toMatchObject({ status: 'cancelled', error_code: 'lease_revoked' });
      expect(await recordsOf(agentId, 'heartbeat.cancelled')).toHaveLength(1);
    });

    it('at the moment of the end leaves one end, and no retry where that is a cancellation', async () => {
      for (let round = 0; round < ROUNDS; round++) {
        const agentId = await agent();
        await wake(agentId);
        const run = await hand.started(agentId);
        const [answer] = await Promise.all([cancel(run.id), hand.end(run, OUTCOMES.shutdown)]);
        expect(answer.status).toBe(200);
        const { status } = await hand.row(run.id);
        expect(['cancelled', 'failed']).toContain(status);
        expect(await hand.successorsOf(run.id)).toHaveLength(status === 'cancelled' ? 0 : 1);
        const ends = (await user.actions(companyId, run.id)).filter((action) =>
          ENDED.includes(action.replace('heartbeat.', '')),
        );
        expect(ends).toEqual([`heartbeat.${status}`]);
      }
    });
  });
});

describe('what stops processes', () => {
  let api: TestApp;
  let runner: TestApp;
  let user: Scenario;
  let companyId: string;

  beforeAll(async () => {
    api = await startTestApp({ config: { roles: new Set(['api']) } });
    runner = await startTestApp({ database: api.database, config: { roles: new Set(['runner']) } });
    user = new Scenario(api.url);
    companyId = await user.company();
  });
  afterAll(async () => {
    await runner.close();
    await api.close();
  });

  it.each([
    ['the pause of its agent', (agentId: string) => `/agents/${agentId}/pause`],
    ['the termination of its agent', (agentId: string) => `/agents/${agentId}/terminate`],
    ['the forced release of its lease', (_: string, runId: string) => `/heartbeat-runs/${runId}/leases/release`],
  ])('ends the whole process group of a run in another process: %s', async (_name, path) => {
    const agentId = await user.agent(companyId, 'sleep 61 & echo $!; sleep 62');
    const { id } = await user.wake(agentId);
    const output = await eventually(
      () => user.log(id),
      (log) => log !== '',
    );
    const { processPid } = await eventually(
      async () => (await user.run(id)) as Run & { processPid: number | null },
      (run) => run.processPid !== null,
    );
    const body = path(agentId, id).endsWith('release') ? { force: true } : {};
    expect((await user.api.post(path(agentId, id), body)).status).toBe(200);
    expect(await user.ended(id)).toMatchObject({ status: 'cancelled' });
    for (const pid of [processPid!, Number(output)]) {
      await eventually(
        () => Promise.resolve(isAlive(pid)),
        (alive) => !alive,
        5_000,
      );
    }
  });

  it('lets a draining agent’s process end by itself', async () => {
    const agentId = await user.agent(companyId, 'sleep 0.5; echo done');
    const { id } = await user.wake(agentId);
    await user.reached(id, ['running']);
    await user.api.post(`/agents/${agentId}/pause`, { drain: true });
    expect(await user.ended(id)).toMatchObject({ status: 'succeeded' });
    expect(await user.log(id)).toBe('done\n');
  });
});
