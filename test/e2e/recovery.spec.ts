import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { isGroupRunning } from '../contracts/process-groups.js';
import { eventually } from '../support/eventually.js';
import { Tally } from '../support/proxied-app.js';
import { Scenario, type ActivityEntry, type Run } from '../support/scenario.js';
import { ServerProcess } from '../support/server-process.js';

const LEASE_TTL_SEC = 3;

describe('a server that ends with a run going, and its successor on the same home', () => {
  let home: string;
  let tally: Tally;
  let server: ServerProcess;
  const groups: number[] = [];

  beforeEach(async () => {
    home = await mkdtemp(path.join(tmpdir(), 'berth-home-'));
    tally = await Tally.create();
  });
  afterEach(async () => {
    await server.stop();
    for (const group of groups.splice(0)) if (isGroupRunning(group)) process.kill(-group, 'SIGKILL');
    await tally.remove();
    await rm(home, { recursive: true, force: true });
  });

  async function start(): Promise<Scenario> {
    server = await ServerProcess.spawn({ BERTH_HOME: home, BERTH_LEASE_TTL_SEC: String(LEASE_TTL_SEC) }).ready();
    return new Scenario(server.url);
  }

  interface StartedRun extends Run {
    processGroupId: number | null;
  }

  /** Wakes an agent whose first execution goes on for ever; answers its run once that executes. */
  async function startRun(user: Scenario, companyId: string): Promise<{ id: string; groupId: number }> {
    const script = `${tally.add}; ${tally.isFirst} || exit 0; echo begun; sleep 600 & sleep 600`;
    const { id } = await user.wake(await user.agent(companyId, script));
    await eventually(
      () => user.log(id),
      (log) => log === 'begun\n',
    );
    const { processGroupId } = await eventually(
      async () => (await user.run(id)) as StartedRun,
      (run) => run.processGroupId !== null,
    );
    groups.push(processGroupId!);
    expect(isGroupRunning(processGroupId!)).toBe(true);
    return { id, groupId: processGroupId! };
  }

  /** The one retry of the run, once it has ended. */
  async function retried(user: Scenario, companyId: string, runId: string): Promise<Run> {
    const list = () => user.api.get<Run[]>(`/companies/${companyId}/heartbeat-runs`);
    const { body } = await eventually(list, ({ body: runs }) => runs.length === 2);
    const [retry] = body;
    expect(retry.retryOfRunId).toBe(runId);
    const ended = await user.ended(retry.id);
    expect((await list()).body).toHaveLength(2);
    return ended;
  }

  const actionsOfCompany = async (user: Scenario, companyId: string) => {
    const { body } = await user.api.get<ActivityEntry[]>(`/companies/${companyId}/activity`);
    return body.map(({ action }) => action).reverse();
  };

  const UP_TO_THE_RUN = [
    'company.created',
    'agent.created',
    'heartbeat.invoked',
    'environment.created',
    'environment.lease_acquired',
    'heartbeat.started',
  ];
  const THE_RETRY = [
    'heartbeat.retry_scheduled',
    'environment.lease_acquired',
    'heartbeat.started',
    'heartbeat.succeeded',
    'environment.lease_released',
  ];

  it('killed: the run is lost with its lease, and retried once', async () => {
    const first = await start();
    const companyId = await first.company();
    const { id } = await startRun(first, companyId);
    await server.kill9();

    const user = await start();
    expect(await user.ended(id, (LEASE_TTL_SEC + 5) * 1000)).toMatchObject({
      status: 'failed',
      errorCode: 'process_lost',
    });
    expect(await user.leases(id)).toMatchObject([{ status: 'expired' }]);
    expect(await user.log(id)).toBe('begun\n');
    expect(await retried(user, companyId, id)).toMatchObject({ status: 'succeeded', exitCode: 0 });
    expect(await tally.count()).toBe(2);
    expect(await actionsOfCompany(user, companyId)).toEqual([
      ...UP_TO_THE_RUN,
      'heartbeat.failed',
      'environment.lease_expired',
      ...THE_RETRY,
    ]);
  });

  it('asked to stop: the run is ended with its process tree, and run again by the successor', async () => {
    const first = await start();
    const companyId = await first.company();
    const { id, groupId } = await startRun(first, companyId);
    expect(await server.stop()).toBe('SIGTERM');
    expect(isGroupRunning(groupId)).toBe(false);
    expect(await readFile(path.join(home, 'postgres/postmaster.pid'), 'utf8').catch(() => null)).toBeNull();

    const user = await start();
    expect(await user.run(id)).toMatchObject({ status: 'failed', errorCode: 'runner_shutdown' });
    expect(await user.leases(id)).toMatchObject([{ status: 'released' }]);
    expect(await retried(user, companyId, id)).toMatchObject({ status: 'succeeded', exitCode: 0 });
    expect(await tally.count()).toBe(2);
    expect(await actionsOfCompany(user, companyId)).toEqual([
      ...UP_TO_THE_RUN,
      'heartbeat.failed',
      'environment.lease_released',
      ...THE_RETRY,
    ]);
  });
});
