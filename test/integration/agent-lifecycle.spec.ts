import { EntityManager } from '@mikro-orm/postgresql';
import { AgentLifecycleService } from '../../src/agents/agent-lifecycle.service.js';
import { inTransaction } from '../../src/database/transaction.js';
import type { ApiClient, Refusal } from '../support/api-client.js';
import { holdTransaction } from '../support/held-transaction.js';
import { AgentHarness, type Agent } from './agent-harness.js';

describe('the life of an agent', () => {
  let agents: AgentHarness;
  let operator: ApiClient;

  beforeAll(async () => {
    agents = await AgentHarness.start();
    ({ operator } = agents);
  });
  afterAll(() => agents.close());

  describe('pause, resume, terminate', () => {
    it('pauses with a reason, and resumes', async () => {
      const { id } = await agents.create({ name: 'tired' });
      const paused = await operator.post<Agent>(`/agents/${id}/pause`, { reason: 'storm' });
      expect(paused.status).toBe(200);
      expect(paused.body).toMatchObject({
        status: 'paused',
        pauseReason: 'storm',
        pausedAt: expect.any(String) as string,
      });
      const resumed = await operator.post<Agent>(`/agents/${id}/resume`);
      expect(resumed.body).toMatchObject({ status: 'idle', pauseReason: null, pausedAt: null });
      expect(await agents.actionsOn(id)).toEqual(['agent.created', 'agent.paused', 'agent.resumed']);
    });

    it.each([
      ['cancels what it has under way', { reason: 'storm' }, { reason: 'storm', drain: false }],
      ['lets it drain', { drain: true }, { reason: 'manual', drain: true }],
    ])('records whether a pause %s', async (_name, body, details) => {
      const { id } = await agents.create({ name: 'recorded' });
      expect((await operator.post(`/agents/${id}/pause`, body)).status).toBe(200);
      const sql = `select details from activity_log where entity_id = $1 and action = 'agent.paused'`;
      expect(await agents.app.database.query(sql, [id])).toEqual([{ details }]);
    });

    it('refuses a drain that is neither true nor false', async () => {
      const { id } = await agents.create({ name: 'undecided' });
      for (const drain of [null, 'yes']) {
        expect((await operator.post(`/agents/${id}/pause`, { drain })).status).toBe(400);
      }
    });

    it('changes nothing when repeated', async () => {
      const { id } = await agents.create({ name: 'steady' });
      await operator.post(`/agents/${id}/resume`);
      const first = await operator.post<Agent>(`/agents/${id}/pause`);
      const second = await operator.post<Agent>(`/agents/${id}/pause`, { reason: 'again' });
      expect(second.body).toEqual(first.body);
      expect(await agents.actionsOn(id)).toEqual(['agent.created', 'agent.paused']);
    });

    it('does not pause what is being terminated', async () => {
      const { id } = await agents.create({ name: 'crossed' });
      const terminate = `update agents set status = 'terminated' where id = $1`;
      const held = await holdTransaction(agents.app.database, terminate, [id]);
      const answer = operator.post<Refusal>(`/agents/${id}/pause`);
      await held.blocksSomebody();
      await held.commit();
      expect((await answer).body.code).toBe('agent_terminated');
    });

    it('ends an agent for good', async () => {
      const { id } = await agents.create({ name: 'done' });
      expect((await operator.post<Agent>(`/agents/${id}/terminate`)).body.status).toBe('terminated');
      expect((await operator.post<Agent>(`/agents/${id}/terminate`)).status).toBe(200);
      for (const [method, path, body] of [
        ['post', 'resume', {}],
        ['post', 'pause', {}],
        ['post', 'keys', { name: 'ghost' }],
      ] as const) {
        const answer = await operator[method]<Refusal>(`/agents/${id}/${path}`, body);
        expect([answer.status, answer.body.code]).toEqual([409, 'agent_terminated']);
      }
      expect((await operator.patch(`/agents/${id}`, { name: 'undone' })).status).toBe(409);
      expect(await agents.actionsOn(id)).toEqual(['agent.created', 'agent.terminated']);
    });
  });

  describe('pause after failures', () => {
    const pauseAfterFailures = (id: string, reason = 'It failed 6 times') =>
      inTransaction(agents.app.get(EntityManager), () =>
        agents.app.get(AgentLifecycleService).pauseAfterFailures(id, reason),
      );

    it('pauses with the reason, and lets the agent drain', async () => {
      const { id } = await agents.create({ name: 'failing' });
      await pauseAfterFailures(id, 'x'.repeat(600));
      const { body } = await operator.get<Agent>(`/agents/${id}`);
      expect(body).toMatchObject({ status: 'paused', pauseReason: 'x'.repeat(500) });
      const sql = `select actor_type, details -> 'drain' as drain from activity_log where entity_id = $1 and action = $2`;
      expect(await agents.app.database.query(sql, [id, 'agent.paused'])).toEqual([
        { actor_type: 'system', drain: true },
      ]);
    });

    it('leaves an agent alone that is paused, terminated or deleted', async () => {
      for (const end of ['pause', 'terminate', null]) {
        const { id } = await agents.create({ name: 'over' });
        await (end ? operator.post(`/agents/${id}/${end}`) : operator.delete(`/agents/${id}`));
        const before = await agents.actionsOn(id);
        await pauseAfterFailures(id);
        expect(await agents.actionsOn(id)).toEqual(before);
      }
    });
  });

  describe('timer', () => {
    const nextTimerAt = async (id: string) =>
      (await operator.get<{ nextTimerAt: string | null }>(`/agents/${id}/runtime-state`)).body.nextTimerAt;
    const timer = (intervalSec: number, enabled = true) => ({ runtimeConfig: { heartbeat: { enabled, intervalSec } } });
    /** Seconds from now, by the clock of the database. */
    const dueIn = async (id: string) => {
      const sql = `select extract(epoch from next_timer_at - clock_timestamp())::float as seconds from agents where id = $1`;
      return (await agents.app.database.query<{ seconds: number }>(sql, [id]))[0].seconds;
    };

    it('is due first within an interval, spread over it', async () => {
      const due: number[] = [];
      for (let n = 0; n < 12; n += 1)
        due.push(await dueIn((await agents.create({ name: 'timed', ...timer(36_000) })).id));
      expect(Math.min(...due)).toBeGreaterThan(-5);
      expect(Math.max(...due)).toBeLessThanOrEqual(36_000);
      expect(Math.max(...due) - Math.min(...due)).toBeGreaterThan(3600);
    });

    it('stays while the interval stays, and follows another one and the switch', async () => {
      const { id } = await agents.create({ name: 'retimed', ...timer(36_000) });
      const first = await nextTimerAt(id);
      expect(first).not.toBeNull();
      await operator.patch(`/agents/${id}`, { name: 'renamed' });
      await operator.patch(`/agents/${id}`, {
        runtimeConfig: { heartbeat: { enabled: true, intervalSec: 36_000, maxConcurrentRuns: 1 } },
      });
      expect(await nextTimerAt(id)).toBe(first);
      await operator.patch(`/agents/${id}`, timer(600));
      expect(await dueIn(id)).toBeLessThanOrEqual(600);
      await operator.patch(`/agents/${id}`, timer(600, false));
      expect(await nextTimerAt(id)).toBeNull();
    });

    it('is moved on by a resume when it passed meanwhile', async () => {
      const { id } = await agents.create({ name: 'rested', ...timer(36_000) });
      await operator.post(`/agents/${id}/pause`);
      const past = `update agents set next_timer_at = now() - interval '25 hours' where id = $1`;
      await agents.app.database.query(past, [id]);
      await operator.post(`/agents/${id}/resume`);
      // 3 × 10 h after 25 h ago.
      expect(Math.round((await dueIn(id)) / 60)).toBe(300);
    });

    it('is off once the agent is terminated', async () => {
      const { id } = await agents.create({ name: 'untimed', ...timer(36_000) });
      await operator.post(`/agents/${id}/terminate`);
      expect(await nextTimerAt(id)).toBeNull();
    });
  });

  describe('delete', () => {
    it('terminates it, takes it out of sight and keeps its row', async () => {
      const { id } = await agents.create({ name: 'gone' });
      expect((await operator.delete(`/agents/${id}`)).status).toBe(204);
      expect((await operator.get(`/agents/${id}`)).status).toBe(404);
      expect((await operator.get(`/agents/gone?companyId=${agents.companyId}`)).status).toBe(404);
      const rows = await agents.app.database.query('select status from agents where id = $1', [id]);
      expect(rows).toEqual([{ status: 'terminated' }]);
      expect(await agents.actionsOn(id)).toEqual(['agent.created', 'agent.terminated', 'agent.deleted']);
    });

    it('is refused while it is running, naming the runs', async () => {
      const { id } = await agents.create({ name: 'working' });
      const runId = await agents.runningRun(id);
      const { status, body } = await operator.delete<Refusal>(`/agents/${id}`);
      expect([status, body.code]).toEqual([409, 'agent_has_running_runs']);
      expect(body.details).toEqual({ runIds: [runId] });
    });
  });

  describe('runtime state', () => {
    it('shows what it is doing, and how it wants to be woken', async () => {
      const { id } = await agents.create({ name: 'shown', runtimeConfig: { heartbeat: { intervalSec: 60 } } });
      const idle = await operator.get(`/agents/${id}/runtime-state`);
      expect(idle.body).toEqual({
        agentId: id,
        companyId: agents.companyId,
        adapterType: 'process',
        status: 'idle',
        heartbeat: { enabled: false, intervalSec: 60, wakeOnDemand: true, maxConcurrentRuns: 5 },
        lastHeartbeatAt: null,
        nextTimerAt: null,
        runningRuns: 0,
        waitingRuns: 0,
        lastRunId: null,
        lastRunStatus: null,
        lastError: null,
      });
      const lastRunId = await agents.runningRun(id);
      const busy = await operator.get(`/agents/${id}/runtime-state`);
      expect(busy.body).toMatchObject({ status: 'running', runningRuns: 1, lastRunId, lastRunStatus: 'running' });
      expect((await operator.get<Agent>(`/agents/${id}`)).body.status).toBe('running');
    });
  });
});
