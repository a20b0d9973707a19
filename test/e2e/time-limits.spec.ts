import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Runner } from '../../src/heartbeat/execution/runner.js';
import { eventually } from '../support/eventually.js';
import { HandRunner } from '../support/hand-runner.js';
import type { Refusal } from '../support/api-client.js';
import { Scenario } from '../support/scenario.js';
import { startTestApp, type TestApp } from '../support/test-app.js';
import { WAKES } from '../support/wakes.js';

interface Limits {
  timeout: number;
  idle: number | null;
}

describe('time limits', () => {
  let app: TestApp;
  let user: Scenario;
  let hand: HandRunner;
  let companyId: string;
  let silent: Server;

  beforeAll(async () => {
    silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    app = await startTestApp({ config: { httpAllow: ['127.0.0.1'] } });
    user = new Scenario(app.url);
    hand = new HandRunner(app);
    companyId = await user.company();
  });
  afterAll(async () => {
    await app.close();
    silent.closeAllConnections();
    silent.close();
  });

  const start = async (script: string, adapterConfig: object = {}) =>
    (await user.wake(await user.agent(companyId, script, { adapterConfig }))).id;
  const limitsOf = async (runId: string) => {
    await user.reached(runId, ['running', 'succeeded', 'timed_out']);
    const [limits] = await app.database.query<Limits>(
      `select extract(epoch from deadline_at - started_at)::float as timeout, idle_timeout_sec as idle
       from heartbeat_runs where id = $1`,
      [runId],
    );
    return limits;
  };

  async function expectTimedOut(runId: string, errorCode: string, error: string): Promise<void> {
    expect(await user.ended(runId)).toMatchObject({ status: 'timed_out', errorCode, error });
    expect(await user.leases(runId)).toMatchObject([{ status: 'failed', failureReason: error }]);
    expect(await hand.successorsOf(runId)).toEqual([]);
    expect((await user.actions(companyId, runId)).slice(-2)).toEqual([
      'heartbeat.timed_out',
      'environment.lease_failed',
    ]);
    const wake = `select status, status_reason as reason from ${WAKES} where run_id = $1`;
    expect(await app.database.query(wake, [runId])).toEqual([{ status: 'failed', reason: errorCode }]);
  }

  it('are two hours, and half an hour without output, where nothing is said', async () => {
    const limits = await limitsOf(await start('true'));
    expect(limits.timeout).toBeCloseTo(7200, 1);
    expect(limits.idle).toBe(1800);
  });

  it('are what the agent says, an idle time-out of 0 being none', async () => {
    const limits = await limitsOf(await start('true', { timeoutSec: 86_400, idleTimeoutSec: 0 }));
    expect(limits.timeout).toBeCloseTo(86_400, 1);
    expect(limits.idle).toBeNull();
  });

  it.each([
    ['timeoutSec', 86_401],
    ['timeoutSec', 0],
    ['timeoutSec', 1.5],
    ['timeoutSec', '10'],
    ['timeoutSec', null],
    ['idleTimeoutSec', 86_401],
    ['idleTimeoutSec', -1],
  ])('are refused out of bounds: %s %s', async (field, value) => {
    const adapterConfig = { command: 'true', [field]: value };
    const answer = await user.api.post<Refusal>(`/companies/${companyId}/agents`, { name: 'slow', adapterConfig });
    expect(answer).toMatchObject({ status: 400, body: { details: [{ field: `adapterConfig.${field}` }] } });
  });

  describe('of runs that take their time', () => {
    const SCRIPTS: Record<string, [script: string, limits: object]> = {
      slow: ['sleep 60', { timeoutSec: 1 }],
      quiet: ['echo hello; sleep 60', { idleTimeoutSec: 1 }],
      polite: ['trap "exit 0" TERM; sleep 60 & wait', { timeoutSec: 1 }],
      stubborn: ['trap "" TERM; while :; do sleep 1; done', { timeoutSec: 1, graceSec: 1 }],
      talkative: ['for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.5; done', { idleTimeoutSec: 2 }],
      silent: ['sleep 3', { idleTimeoutSec: 0 }],
    };
    const ids = new Map<string, string>();

    // All at once: they only wait.
    beforeAll(async () => {
      for (const [name, [script, limits]] of Object.entries(SCRIPTS)) ids.set(name, await start(script, limits));
    });

    it('end one that takes too long', async () => {
      await expectTimedOut(ids.get('slow')!, 'timeout', 'Timed out after 1 seconds');
    });

    it('end one that says nothing for too long', async () => {
      await expectTimedOut(ids.get('quiet')!, 'idle_timeout', 'Wrote nothing for 1 seconds');
      expect(await user.log(ids.get('quiet')!)).toBe('hello\n');
    });

    it('stand although the process catches the signal and ends well', async () => {
      await expectTimedOut(ids.get('polite')!, 'timeout', 'Timed out after 1 seconds');
      expect(await user.run(ids.get('polite')!)).toMatchObject({ exitCode: 0 });
    });

    it('end a process that ignores the signal, when its grace is over', async () => {
      await expectTimedOut(ids.get('stubborn')!, 'timeout', 'Timed out after 1 seconds');
      expect(await user.run(ids.get('stubborn')!)).toMatchObject({ signal: 'SIGKILL' });
    });

    it('count the silence from the last output', async () => {
      expect(await user.ended(ids.get('talkative')!)).toMatchObject({ status: 'succeeded' });
    });

    it('are no limit on silence where that is turned off', async () => {
      expect(await user.ended(ids.get('silent')!)).toMatchObject({ status: 'succeeded' });
    });
  });

  it('are kept in the database, whose clock decides', async () => {
    const [late, quiet] = [await start('sleep 60'), await start('echo hello; sleep 60')];
    for (const id of [late, quiet]) await user.reached(id, ['running']);
    await eventually(
      () => user.log(quiet),
      (log) => log !== '',
    );
    await app.database.query('update heartbeat_runs set deadline_at = now() where id = $1', [late]);
    const hourAgo = `started_at = now() - interval '1 hour', last_output_at = now() - interval '31 minutes'`;
    await app.database.query(`update heartbeat_runs set ${hourAgo} where id = $1`, [quiet]);
    app.get(Runner).lookForStops();
    expect(await user.ended(late)).toMatchObject({ status: 'timed_out', errorCode: 'timeout' });
    expect(await user.ended(quiet)).toMatchObject({ status: 'timed_out', errorCode: 'idle_timeout' });
  });

  it('give way to a wish to cancel', async () => {
    const id = await start('trap "" TERM; sleep 60', { timeoutSec: 1, graceSec: 3 });
    await user.reached(id, ['running']);
    await eventually(
      () => app.database.query('select 1 from heartbeat_runs where id = $1 and deadline_at < clock_timestamp()', [id]),
      (over) => over.length === 1,
    );
    await user.api.post(`/heartbeat-runs/${id}/cancel`);
    expect(await user.ended(id)).toMatchObject({ status: 'cancelled', errorCode: 'cancelled' });
  });

  it('hold for agents that are called', async () => {
    const { port } = silent.address() as AddressInfo;
    const adapterConfig = { url: `http://127.0.0.1:${port}/`, timeoutMs: 300 };
    const agent = { name: 'far away', adapterType: 'http', adapterConfig };
    const { body } = await user.api.post<{ id: string }>(`/companies/${companyId}/agents`, agent);
    const { id } = await user.wake(body.id);
    await expectTimedOut(id, 'timeout', `POST http://127.0.0.1:${port}/ did not answer within 300 ms`);
  });
});
