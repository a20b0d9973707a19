import { jest } from '@jest/globals';
import { Scenario } from '../support/scenario.js';
import { StatementFaults } from '../support/statement-faults.js';
import { startTestApp, type TestApp } from '../support/test-app.js';
import { eventually } from '../support/eventually.js';
import type { AdapterResult } from '../../src/heartbeat/adapters/adapter.port.js';
import { AdapterRegistry } from '../../src/heartbeat/adapters/adapter-registry.js';
import { EndRuns } from '../../src/heartbeat/ending/end-runs.js';
import { ExecutionServer } from '../../src/heartbeat/execution/execution.server.js';
import { FinaliseService } from '../../src/heartbeat/execution/finalise.service.js';
import { WAKES } from '../support/wakes.js';

const SUCCESS: AdapterResult = {
  outcome: 'succeeded',
  exitCode: 0,
  signal: null,
  error: null,
  errorCode: null,
  resultJson: null,
  usageJson: null,
};

/** Everything that a run's transitions write, as somebody else sees it. */
const STATE = `select r.status as run, r.error_code as "errorCode", w.status as wakeup,
    array(select l.status from environment_leases l where l.heartbeat_run_id = r.id) as leases,
    array(select a.action from activity_log a where a.run_id = r.id order by a.seq) as actions,
    array(select e.name from environments e where e.company_id = r.company_id) as environments,
    array(select status from ${WAKES} where issue_id = r.issue_id and id <> w.id) as others,
    (select count(*)::integer from heartbeat_runs o where o.issue_id = r.issue_id and o.id <> r.id) as successors
  from heartbeat_runs r join (select * from ${WAKES}) w on w.id = r.wakeup_request_id
  where r.id = $1`;

const QUEUED = {
  run: 'queued',
  errorCode: null,
  wakeup: 'queued',
  leases: [],
  actions: ['heartbeat.invoked'],
  environments: [],
  others: [],
  successors: 0,
};
const RUNNING = {
  ...QUEUED,
  run: 'running',
  wakeup: 'claimed',
  leases: ['active'],
  actions: ['heartbeat.invoked', 'environment.lease_acquired', 'heartbeat.started'],
  environments: ['Local'],
};
const SUCCEEDED = {
  ...RUNNING,
  run: 'succeeded',
  wakeup: 'completed',
  leases: ['released'],
  actions: [...RUNNING.actions, 'heartbeat.succeeded', 'environment.lease_released'],
};

/** No runner here: every dispatch is the test's own. */
describe('a failure between two statements', () => {
  let app: TestApp;
  let user: Scenario;
  let faults: StatementFaults;
  let companyId: string;
  let agentId: string;

  beforeAll(async () => {
    app = await startTestApp({ config: { roles: new Set(['api']) } });
    user = new Scenario(app.url);
  });
  afterAll(() => app.close());

  beforeEach(async () => {
    companyId = await user.company();
    agentId = await user.agent(companyId, 'true');
    jest.spyOn(app.get(AdapterRegistry).get('process'), 'execute').mockResolvedValue(SUCCESS);
    faults = new StatementFaults();
  });
  afterEach(async () => {
    faults.stop();
    jest.restoreAllMocks();
    await postponeQueued();
  });

  const dispatch = () => app.get(ExecutionServer).dispatch();
  const state = async (runId: string) => (await app.database.query(STATE, [runId]))[0];
  /** What waits is not for the next dispatch. */
  const postponeQueued = () =>
    app.database.query(`update heartbeat_runs set due_at = 'infinity' where status = 'queued'`);
  /** Makes a run that was set back after an error due again. */
  const makeDue = (runId: string, claimErrors: number) =>
    app.database.query(`update heartbeat_runs set due_at = now(), claim_errors = $2 where id = $1`, [
      runId,
      claimErrors,
    ]);

  describe('of provision', () => {
    it('leaves the run queued and nothing else, whichever fails', async () => {
      const { id } = await user.wake(agentId);
      let failing = 0;
      for (; ; failing++) {
        faults.failAt(failing);
        const slot = await dispatch();
        if (faults.committed) break;
        expect(slot.run).toBeNull();
        expect({ at: faults.sent.at(-1), ...(await state(id)) }).toEqual({ at: faults.sent[failing], ...QUEUED });
        await makeDue(id, 0);
      }
      expect(failing).toBeGreaterThan(10);
      expect(await state(id)).toEqual(SUCCEEDED);
    });

    it('keeps the error on the run, which is due later each time', async () => {
      const { id } = await user.wake(agentId);
      for (const [errors, waitSec] of [
        [1, 1],
        [2, 2],
        [3, 4],
      ] as const) {
        faults.failAt(5);
        await dispatch();
        const [kept] = await app.database.query(
          `select claim_errors, waiting_reason, round(extract(epoch from due_at - updated_at))::integer as wait_sec
           from heartbeat_runs where id = $1`,
          [id],
        );
        expect(kept).toMatchObject({ claim_errors: errors, wait_sec: waitSec });
        expect(kept.waiting_reason).toMatchObject({
          code: 'claim_failed',
          message: expect.stringMatching(/A statement failed on purpose/),
        });
        expect((await dispatch()).run).toBeNull();
        await makeDue(id, errors);
      }
    });

    it('fails the run after the fifth time', async () => {
      const { id } = await user.wake(agentId);
      for (let errors = 0; errors < 5; errors++) {
        await makeDue(id, errors);
        expect(await state(id)).toEqual(QUEUED);
        faults.failAt(0);
        await dispatch();
      }
      expect(await state(id)).toMatchObject({
        run: 'failed',
        errorCode: 'claim_failed',
        wakeup: 'failed',
        leases: [],
        actions: ['heartbeat.invoked', 'heartbeat.failed'],
        environments: [],
      });
    });

    it('does not keep others from being started', async () => {
      const other = await user.agent(companyId, 'true');
      const [first, second] = [await user.wake(agentId), await user.wake(other)];
      faults.failAt(8);
      expect((await dispatch()).run!.id).toBe(first.id);
      expect(faults.committed).toBe(false);
      expect(await state(second.id)).toMatchObject({ run: 'queued', leases: [] });
      expect((await dispatch()).run!.id).toBe(second.id);
    });
  });

  describe('of finalise', () => {
    /** A run that somebody else's wake waits for, so that its end has a successor. */
    const wakeWithSuccessor = async () => {
      const payload = { issueId: await user.issue(companyId) };
      const { id } = await user.wake(agentId, { payload });
      await user.wake(await user.agent(companyId, 'true'), { payload });
      return id;
    };
    const waiting = { others: ['deferred_issue_execution'], successors: 0 };
    const promoted = { others: ['queued'], successors: 1 };

    it('leaves run and lease as they are, whichever fails, and is made up for', async () => {
      const finalise = app.get(FinaliseService);
      const original = finalise.finalise.bind(finalise);
      let failing = 0;
      for (; ; failing++) {
        const id = await wakeWithSuccessor();
        const hit = new Promise<void>((resolve) => {
          jest.spyOn(finalise, 'finalise').mockImplementationOnce((run, outcome) => {
            void faults.failAtAndHold(failing).then(resolve);
            return original(run, outcome);
          });
        });
        const done = dispatch();
        await Promise.race([hit, done]);
        if (!faults.committed) {
          expect({ at: faults.sent.at(-1), ...(await state(id)) }).toEqual({
            at: faults.sent[failing],
            ...RUNNING,
            ...waiting,
          });
        }
        faults.release();
        expect((await done).run!.id).toBe(id);
        expect(await state(id)).toEqual({ ...SUCCEEDED, ...promoted });
        if (faults.committed) break;
        await postponeQueued();
      }
      expect(failing).toBeGreaterThan(10);
    });

    it('says so in the end of a run whose outcome cannot be stored', async () => {
      const { id } = await user.wake(agentId);
      const nul = { ...SUCCESS, resultJson: { said: 'a \0 that jsonb cannot hold' } };
      jest.spyOn(app.get(AdapterRegistry).get('process'), 'execute').mockResolvedValue(nul);
      await dispatch();
      expect(await state(id)).toMatchObject({ run: 'failed', errorCode: 'finalise_failed', leases: ['failed'] });
    });

    it('leaves a run whose end can never be recorded to the reaper', async () => {
      const { id } = await user.wake(agentId);
      const endRunning = jest.spyOn(app.get(EndRuns), 'endRunning').mockRejectedValue(new Error('never'));
      await expect(dispatch()).rejects.toMatchObject({ status: 'error' });
      expect(await state(id)).toEqual(RUNNING);
      endRunning.mockRestore();
      await app.database.query(
        `update environment_leases set expires_at = acquired_at + interval '1 millisecond' where heartbeat_run_id = $1`,
        [id],
      );
      await eventually(
        () => state(id),
        (seen) => seen.run !== 'running',
      );
      expect(await state(id)).toMatchObject({ run: 'failed', errorCode: 'process_lost', leases: ['expired'] });
    });
  });
});
