import { jest } from '@jest/globals';
import { Scenario, type Lease } from '../support/scenario.js';
import { startTestApp, type TestApp } from '../support/test-app.js';
import { DriverRegistry } from '../../src/environments/drivers/driver-registry.js';
import type { AdapterResult } from '../../src/heartbeat/adapters/adapter.port.js';
import { AdapterRegistry } from '../../src/heartbeat/adapters/adapter-registry.js';
import { EnvironmentLeaseInterceptor } from '../../src/heartbeat/execution/environment-lease.interceptor.js';
import { ExecuteRun } from '../../src/heartbeat/execution/execute-run.js';
import { EXECUTE, ExecutionServer } from '../../src/heartbeat/execution/execution.server.js';
import { ExecutionSlot } from '../../src/heartbeat/execution/execution-slot.js';
import { FinaliseService } from '../../src/heartbeat/execution/finalise.service.js';
import { HeartbeatExecutor } from '../../src/heartbeat/execution/heartbeat.executor.js';
import { Runner } from '../../src/heartbeat/execution/runner.js';

const SUCCESS: AdapterResult = {
  outcome: 'succeeded',
  exitCode: 0,
  signal: null,
  error: null,
  errorCode: null,
  resultJson: null,
  usageJson: null,
};

const WHOLE_LIFE = [
  'heartbeat.invoked',
  'environment.lease_acquired',
  'heartbeat.started',
  'heartbeat.succeeded',
  'environment.lease_released',
];

describe(EnvironmentLeaseInterceptor.name, () => {
  let app: TestApp;
  let user: Scenario;
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
  });
  afterEach(() => jest.restoreAllMocks());

  const dispatch = () => app.get(ExecutionServer).dispatch();
  const spyOnAdapter = () => jest.spyOn(app.get(AdapterRegistry).get('process'), 'execute').mockResolvedValue(SUCCESS);
  const spyOnInterceptor = () => jest.spyOn(EnvironmentLeaseInterceptor.prototype, 'intercept');

  describe('wraps every execution', () => {
    const expectOneLife = async (runId: string) => {
      expect(await user.run(runId)).toMatchObject({ status: 'succeeded' });
      expect(await user.leases(runId)).toMatchObject([{ status: 'released', heartbeatRunId: runId }]);
      expect(await user.actions(companyId, runId)).toEqual(WHOLE_LIFE);
    };

    it('that a test dispatches', async () => {
      const [intercept, execute] = [spyOnInterceptor(), spyOnAdapter()];
      const { id } = await user.wake(agentId);
      expect((await dispatch()).run!.id).toBe(id);
      expect(intercept).toHaveBeenCalledTimes(1);
      expect(execute).toHaveBeenCalledTimes(1);
      await expectOneLife(id);
    });

    it('that a runner picks up after a wake over HTTP', async () => {
      const runner = await startTestApp({ config: { roles: new Set(['runner']) }, database: app.database });
      const [intercept, execute] = [spyOnInterceptor(), jest.spyOn(runner.get(ExecuteRun), 'execute')];
      const { id } = await user.wake(agentId);
      await user.ended(id);
      await runner.close();
      expect(execute).toHaveBeenCalledTimes(1);
      const slot = execute.mock.calls[0][0];
      expect(intercept.mock.calls.map(([context]) => context.getArgByIndex<ExecutionSlot>(1))).toContain(slot);
      await expectOneLife(id);
    });

    it('because there is one way in', () => {
      expect([...app.get(ExecutionServer).getHandlers().keys()]).toEqual([EXECUTE]);
      // The runner knows the transport and nothing that executes.
      const dependencies = Reflect.getMetadata('design:paramtypes', Runner) as { name: string }[];
      expect(dependencies.map(({ name }) => name)).toContain(ExecutionServer.name);
      expect(dependencies.map(({ name }) => name)).not.toContain(ExecuteRun.name);
    });
  });

  it('executes nothing when there is nothing to do', async () => {
    const [execute, finalise] = [
      jest.spyOn(app.get(ExecuteRun), 'execute'),
      jest.spyOn(app.get(FinaliseService), 'finalise'),
    ];
    expect((await dispatch()).run).toBeNull();
    expect(execute).not.toHaveBeenCalled();
    expect(finalise).not.toHaveBeenCalled();
  });

  it('cannot be passed around: without it there is no run to execute, and an old one does not run again', async () => {
    const execute = spyOnAdapter();
    await expect(app.get(HeartbeatExecutor).execute(new ExecutionSlot())).rejects.toThrow();
    expect(execute).not.toHaveBeenCalled();
    const { id } = await user.wake(agentId);
    const slot = await dispatch();
    await expect(app.get(HeartbeatExecutor).execute(slot)).rejects.toThrow();
    expect(execute).toHaveBeenCalledTimes(1);
    expect(await user.actions(companyId, id)).toEqual(WHOLE_LIFE);
  });

  it('holds the lease, for everybody to see, while the run executes', async () => {
    const execute = spyOnAdapter();
    const during = new Promise<Lease[]>((resolve) => {
      execute.mockImplementation(async ({ runId, contextSnapshot }) => {
        const { id } = contextSnapshot.paperclipEnvironment as { id: string };
        const held = await user.api.get<Lease[]>(`/environments/${id}/leases?status=active`);
        expect((await user.run(runId)).status).toBe('running');
        resolve(held.body);
        return SUCCESS;
      });
    });
    const { id } = await user.wake(agentId);
    await dispatch();
    expect(await during).toMatchObject([{ heartbeatRunId: id, status: 'active', releasedAt: null }]);
    expect(await user.leases(id)).toMatchObject([{ status: 'released' }]);
  });

  describe('finalises exactly once', () => {
    const failures: [name: string, fail: () => void, errorCode: string][] = [
      ['when the adapter throws', () => spyOnAdapter().mockRejectedValue(new Error('broken')), 'adapter_failed'],
      [
        'when the driver throws',
        () => jest.spyOn(app.get(DriverRegistry).get('local'), 'realise').mockRejectedValue(new Error('broken')),
        'driver_failed',
      ],
      [
        'when the handler throws',
        () => jest.spyOn(app.get(ExecuteRun), 'execute').mockRejectedValue(new Error('broken')),
        'execution_failed',
      ],
      [
        'when the handler throws at once',
        () =>
          jest.spyOn(app.get(ExecuteRun), 'execute').mockImplementation(() => {
            throw new Error('broken');
          }),
        'execution_failed',
      ],
    ];
    it.each(failures)('%s', async (_name, fail, errorCode) => {
      const finalise = jest.spyOn(app.get(FinaliseService), 'finalise');
      fail();
      const { id } = await user.wake(agentId);
      await dispatch();
      expect(finalise).toHaveBeenCalledTimes(1);
      expect(await user.run(id)).toMatchObject({ status: 'failed', errorCode, error: 'broken' });
      expect(await user.leases(id)).toMatchObject([{ status: 'failed', failureReason: 'broken' }]);
      expect((await user.actions(companyId, id)).slice(3)).toEqual(['heartbeat.failed', 'environment.lease_failed']);
    });

    it('and leaves an end that somebody else recorded as it is', async () => {
      spyOnAdapter().mockImplementation(async ({ runId }) => {
        await user.api.post(`/heartbeat-runs/${runId}/leases/release`, { force: true, reason: 'needed elsewhere' });
        return SUCCESS;
      });
      const { id } = await user.wake(agentId);
      await dispatch();
      expect(await user.run(id)).toMatchObject({ status: 'cancelled', errorCode: 'lease_revoked' });
      expect((await user.actions(companyId, id)).slice(3)).toEqual([
        'heartbeat.cancelled',
        'environment.lease_released',
      ]);
    });
  });
});
