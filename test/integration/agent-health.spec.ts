import { jest } from '@jest/globals';
import { DriverRegistry } from '../../src/environments/drivers/driver-registry.js';
import { failedOutcome, type RunOutcome } from '../../src/heartbeat/runs/run-outcome.js';
import { holdTransaction } from '../support/held-transaction.js';
import { HandRunner, OUTCOMES } from '../support/hand-runner.js';
import { Scenario, type ActivityEntry } from '../support/scenario.js';
import { startStillApp, Steps } from '../support/still-app.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

const timedOut = (error = 'Timed out after 5 seconds'): RunOutcome => ({
  ...failedOutcome('timeout', error),
  status: 'timed_out',
});
const exit = (code: number) => failedOutcome('adapter_failed', `Exited with code ${code}`);
const alike = <T>(count: number, one: T): T[] => Array.from({ length: count }, () => one);

interface AgentState {
  status: string;
  pauseReason: string | null;
}

describe('the status of an agent', () => {
  let app: TestApp;
  let user: Scenario;
  let hand: HandRunner;
  let companyId: string;
  let agentId: string;

  beforeAll(async () => {
    app = await startStillApp();
    user = new Scenario(app.url);
    hand = new HandRunner(app);
    companyId = await user.company();
  });
  beforeEach(async () => void (agentId = await user.agent(companyId, 'true')));
  afterAll(() => app.close());

  const agent = async () => (await user.api.get<AgentState>(`/agents/${agentId}`)).body;
  const start = async (taskKey = 'one') => {
    await user.wake(agentId, { payload: { taskKey } });
    return hand.started(agentId);
  };
  const end = async (...outcomes: RunOutcome[]) => {
    for (const outcome of outcomes) await hand.end(await start(), outcome);
  };
  const pauses = async () => {
    const { body } = await user.api.get<ActivityEntry[]>(`/companies/${companyId}/activity?entityId=${agentId}`);
    return body.filter(({ action, entityId }) => action === 'agent.paused' && entityId === agentId);
  };

  it('is running while it runs, and idle before and after', async () => {
    expect((await agent()).status).toBe('idle');
    const [first, second] = [await start('a'), await start('b')];
    expect((await agent()).status).toBe('running');
    await hand.end(first);
    expect((await agent()).status).toBe('running');
    await hand.end(second);
    expect((await agent()).status).toBe('idle');
  });

  it.each([
    ['a failure', exit(1)],
    ['a program that cannot be started', failedOutcome('command_not_started', 'No such file')],
    ['an answer that is no success', failedOutcome('http_404', 'POST http://far/away answered 404')],
    ['a time-out', timedOut()],
  ])('is error after %s of its own, and idle again after a success', async (_name, outcome) => {
    await end(outcome);
    expect((await agent()).status).toBe('error');
    const next = await start();
    expect((await agent()).status).toBe('running');
    await hand.end(next);
    expect((await agent()).status).toBe('idle');
  });

  it.each([
    ['a transient failure', OUTCOMES.transient],
    ['a shutdown', OUTCOMES.shutdown],
    ['a driver that failed', failedOutcome('driver_failed', 'The driver broke')],
    ['a place that cannot be had', failedOutcome('place_unavailable', 'No room')],
    ['an execution that broke in the runner', failedOutcome('execution_failed', 'Out of memory')],
    ['an end that could not be recorded', failedOutcome('finalise_failed', 'Not recorded')],
    ['a cancellation', { ...exit(1), status: 'cancelled' as const }],
  ])('is not error after %s', async (_name, outcome) => {
    await end(outcome);
    expect((await agent()).status).toBe('idle');
  });

  it('is not error after a runner was lost', async () => {
    await hand.lose(await start());
    expect((await agent()).status).toBe('idle');
  });

  it('stays error after what is nobody’s fault', async () => {
    await end(exit(1));
    await hand.lose(await start());
    expect((await agent()).status).toBe('error');
  });

  it('is not error after a run that was refused at the gate', async () => {
    const company = await user.company();
    const { body: places } = await user.api.get<{ id: string }[]>(`/companies/${company}/environments`);
    await user.api.post(`/environments/${places[0].id}/archive`);
    agentId = await user.agent(company, 'true');
    const { id } = await user.wake(agentId);
    expect(await hand.start(agentId)).toBeNull();
    expect(await hand.row(id)).toMatchObject({ status: 'failed', error_code: 'environment_archived' });
    expect((await agent()).status).toBe('idle');
  });

  it.each(['paused', 'terminated'])('stays %s when its last run fails or succeeds', async (status) => {
    const [first, second] = [await start('a'), await start('b')];
    const how = status === 'paused' ? 'pause' : 'terminate';
    await user.api.post(`/agents/${agentId}/${how}`, how === 'pause' ? { drain: true } : {});
    await app.database.query(
      'update heartbeat_runs set cancel_requested_at = null, cancel_at = null, cancel_code = null where agent_id = $1',
      [agentId],
    );
    await hand.end(first, exit(1));
    await hand.end(second);
    expect((await agent()).status).toBe(status);
  });

  it('does not keep a success on no issue waiting while somebody holds the agent', async () => {
    const run = await start();
    const holder = await holdTransaction(app.database, 'select 1 from agents where id = $1 for no key update', [
      agentId,
    ]);
    await hand.end(run);
    await holder.commit();
    expect(await hand.row(run.id)).toMatchObject({ status: 'succeeded' });
  });

  it('stays paused when that is committed while a success would end the error before', async () => {
    await end(exit(1));
    const run = await start();
    const holder = await holdTransaction(
      app.database,
      `update agents set status = 'paused', pause_reason = 'by hand', paused_at = now() where id = $1`,
      [agentId],
    );
    const ended = hand.end(run);
    await holder.blocksSomebody();
    await holder.commit();
    await ended;
    expect((await agent()).status).toBe('paused');
  });

  describe('after failures in a row', () => {
    it('is paused at the sixth that is like the others, with the reason in the record', async () => {
      await end(...alike(5, exit(1)));
      expect(await agent()).toMatchObject({ status: 'error' });
      await end(exit(1));
      const reason = 'It failed 6 times in a row: Exited with code 1';
      expect(await agent()).toMatchObject({ status: 'paused', pauseReason: reason });
      expect(await pauses()).toMatchObject([{ actorType: 'system', details: { reason, drain: true } }]);
      expect((await user.api.post(`/agents/${agentId}/wakeup`)).status).toBe(409);
    });

    it('is paused after six time-outs alike', async () => {
      await end(...alike(6, timedOut()));
      expect(await agent()).toMatchObject({ status: 'paused' });
    });

    it.each([
      ['five', alike(5, exit(1))],
      ['a different one among them', [...alike(3, exit(1)), exit(2), ...alike(3, exit(1))]],
      ['another kind of end with the same words', [...alike(5, exit(1)), timedOut('Exited with code 1')]],
      ['a success among them', [...alike(3, exit(1)), OUTCOMES.succeeded, ...alike(3, exit(1))]],
      ['six transient ones', alike(6, OUTCOMES.transient)],
    ])('is not paused: %s', async (_name, outcomes) => {
      await end(...outcomes);
      expect((await agent()).status).not.toBe('paused');
      expect(await pauses()).toEqual([]);
    });

    it('is paused once, whatever else still fails, at once or later', async () => {
      await end(...alike(4, exit(1)));
      const runs = [await start('a'), await start('b'), await start('c')];
      await Promise.all(runs.slice(1).map((run) => hand.end(run, exit(1))));
      await hand.end(runs[0], exit(1));
      expect(await agent()).toMatchObject({ status: 'paused' });
      expect(await pauses()).toHaveLength(1);
    });

    it('is paused when two runners record the last two at the same moment', async () => {
      const steps = new Steps(app);
      for (let round = 0; round < 4; round++) {
        agentId = await user.agent(companyId, 'true');
        await end(...alike(4, exit(1)));
        const runs = [await start('a'), await start('b')];
        expect(await Promise.all(runs.map((run) => steps.end(run, exit(1))))).toEqual([true, true]);
        expect(await agent()).toMatchObject({ status: 'paused' });
      }
    });

    it('keeps what waits, and is its old self when it is resumed and succeeds', async () => {
      await end(...alike(5, exit(1)));
      const run = await start('a');
      const { id } = await user.wake(agentId, { payload: { taskKey: 'b' } });
      await hand.end(run, exit(1));
      expect(await hand.start(agentId)).toBeNull();
      expect(await hand.row(id)).toMatchObject({ status: 'queued' });
      await user.api.post(`/agents/${agentId}/resume`);
      await hand.end(await hand.started(agentId));
      expect(await agent()).toMatchObject({ status: 'idle', pauseReason: null });
    });
  });
});

describe('the status of an agent whose place breaks', () => {
  it.each(['realise', 'execute'] as const)('stays idle: the driver throws in %s', async (method) => {
    const app = await startTestApp();
    const user = new Scenario(app.url);
    const agentId = await user.agent(await user.company(), 'true');
    const broken = jest.spyOn(app.get(DriverRegistry).get('local'), method);
    broken.mockRejectedValueOnce(new Error('the driver broke'));
    const { id } = await user.wake(agentId);
    const run = await user.ended(id);
    const { body } = await user.api.get<AgentState>(`/agents/${agentId}`);
    broken.mockRestore();
    await app.close();
    expect(run).toMatchObject({ status: 'failed', errorCode: 'driver_failed', error: 'the driver broke' });
    expect(body.status).toBe('idle');
  });
});
