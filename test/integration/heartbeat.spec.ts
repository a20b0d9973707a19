import { jest } from '@jest/globals';
import { Scenario, type ActivityEntry, type Lease, type Run } from '../support/scenario.js';
import { startTestApp, type TestApp } from '../support/test-app.js';
import { DriverRegistry } from '../../src/environments/drivers/driver-registry.js';
import { AdapterRegistry } from '../../src/heartbeat/adapters/adapter-registry.js';

describe('a heartbeat', () => {
  let app: TestApp;
  let user: Scenario;
  let companyId: string;

  beforeAll(async () => {
    app = await startTestApp({ config: { roles: new Set(['api', 'runner']) } });
    user = new Scenario(app.url);
  });
  beforeEach(async () => void (companyId = await user.company()));
  afterAll(() => app.close());

  /** Wakes an agent with this script and waits for the end of its run. */
  const runs = async (script: string, adapterConfig: object = {}): Promise<{ run: Run; lease: Lease }> => {
    const { id } = await user.wake(await user.agent(companyId, script, { adapterConfig }));
    const run = await user.ended(id);
    const [lease] = await user.leases(id);
    return { run, lease: lease };
  };

  it('runs a process in the leased Local environment and keeps what it wrote', async () => {
    const { run, lease } = await runs('echo to stdout; echo to stderr >&2; echo $PAPERCLIP_LEASE_ID');
    expect(run).toMatchObject({ status: 'succeeded', exitCode: 0, error: null });
    expect(run.contextSnapshot.paperclipEnvironment).toMatchObject({
      name: 'Local',
      driver: 'local',
      leaseId: lease.id,
    });
    const log = await user.log(run.id);
    expect(log).toContain('to stdout\n');
    expect(log).toContain('to stderr\n');
    expect(log).toContain(lease.id);
  });

  it('records every step of the first whole life, in order', async () => {
    const { run } = await runs('true');
    expect(await user.actions(companyId, run.id)).toEqual([
      'heartbeat.invoked',
      'environment.lease_acquired',
      'heartbeat.started',
      'heartbeat.succeeded',
      'environment.lease_released',
    ]);
  });

  it('writes a start and a success in one row each, and tells of run and lease', async () => {
    const { run, lease } = await runs('true');
    const rows = 'select action from activity_rows where run_id = $1 order by seq';
    expect((await app.database.query<{ action: string }>(rows, [run.id])).map(({ action }) => action)).toEqual([
      'heartbeat.invoked',
      'heartbeat.started',
      'heartbeat.succeeded',
    ]);
    const { id: environmentId, driver } = run.contextSnapshot.paperclipEnvironment!;
    const said = { environmentId, driver, leasePolicy: 'ephemeral', provider: driver, executionWorkspaceId: null };
    const about = async (id: string) =>
      (await user.api.get<ActivityEntry[]>(`/companies/${companyId}/activity?entityId=${id}`)).body;
    expect((await about(lease.id)).map(({ details }) => details)).toEqual([
      { ...said, issueId: null, status: 'released' },
      { ...said, issueId: null, status: 'active' },
    ]);
    expect((await about(run.id)).map(({ details }) => details)).toEqual([
      { leaseId: lease.id, issueId: null },
      { leaseId: lease.id, issueId: null, host: expect.any(String) },
      { wakeupRequestId: expect.any(String), source: 'on_demand', reason: null, issueId: null },
    ]);
  });

  describe('ends run and lease together', () => {
    const cases: [name: string, script: string, config: object, run: object, lease: object, actions: string[]][] = [
      [
        'on success',
        'exit 0',
        {},
        { status: 'succeeded', exitCode: 0, errorCode: null },
        { status: 'released', failureReason: null },
        ['heartbeat.succeeded', 'environment.lease_released'],
      ],
      [
        'on failure',
        'exit 3',
        {},
        { status: 'failed', exitCode: 3, errorCode: 'adapter_failed', error: 'Exited with code 3' },
        { status: 'failed', failureReason: 'Exited with code 3' },
        ['heartbeat.failed', 'environment.lease_failed'],
      ],
      [
        'on time-out',
        'sleep 60',
        { timeoutSec: 1 },
        { status: 'timed_out', errorCode: 'timeout' },
        { status: 'failed', failureReason: 'Timed out after 1 seconds' },
        ['heartbeat.timed_out', 'environment.lease_failed'],
      ],
      [
        'when the program is missing',
        '',
        { command: '/nowhere/at-all', args: [] },
        { status: 'failed', errorCode: 'command_not_started', exitCode: null },
        { status: 'failed' },
        ['heartbeat.failed', 'environment.lease_failed'],
      ],
      [
        'when it dies of a signal',
        'kill -SEGV $$',
        {},
        { status: 'failed', signal: 'SIGSEGV', errorCode: 'adapter_failed' },
        { status: 'failed' },
        ['heartbeat.failed', 'environment.lease_failed'],
      ],
    ];
    it.each(cases)('%s', async (_name, script, config, expectedRun, expectedLease, lastActions) => {
      const { run, lease } = await runs(script, config);
      expect(run).toMatchObject(expectedRun);
      expect(lease).toMatchObject(expectedLease);
      expect(lease.releasedAt).not.toBeNull();
      expect((await user.actions(companyId, run.id)).slice(-2)).toEqual(lastActions);
    });

    it('on cancel, ending the whole process tree', async () => {
      const agentId = await user.agent(companyId, 'sleep 61 & sleep 61');
      const { id } = await user.wake(agentId);
      await user.reached(id, ['running']);
      await user.api.post(`/heartbeat-runs/${id}/cancel`, { reason: 'not needed' });
      expect(await user.ended(id)).toMatchObject({ status: 'cancelled', errorCode: 'cancelled', error: 'not needed' });
      expect((await user.leases(id))[0]).toMatchObject({ status: 'released', failureReason: 'not needed' });
      expect((await user.actions(companyId, id)).slice(-3)).toEqual([
        'heartbeat.cancel_requested',
        'heartbeat.cancelled',
        'environment.lease_released',
      ]);
    });

    it('on an exception in the adapter', async () => {
      const adapter = app.get(AdapterRegistry).get('process');
      const execute = jest.spyOn(adapter, 'execute').mockRejectedValueOnce(new Error('the adapter broke'));
      const { run, lease } = await runs('true');
      execute.mockRestore();
      expect(run).toMatchObject({ status: 'failed', errorCode: 'adapter_failed', error: 'the adapter broke' });
      expect(lease.status).toBe('failed');
    });

    it.each(['realise', 'execute'] as const)('on an exception in the driver: %s', async (method) => {
      const driver = app.get(DriverRegistry).get('local');
      const spy = jest.spyOn(driver, method).mockRejectedValueOnce(new Error('the driver broke'));
      const { run, lease } = await runs('true');
      spy.mockRestore();
      expect(run).toMatchObject({ status: 'failed', error: 'the driver broke' });
      expect(lease.status).toBe('failed');
    });
  });

  it('makes one Local of 8 first runs at once', async () => {
    const agents = await Promise.all(Array.from({ length: 8 }, () => user.agent(companyId, 'true')));
    const woken = await Promise.all(agents.map((agentId) => user.wake(agentId)));
    const ended = await Promise.all(woken.map(({ id }) => user.ended(id)));
    expect(ended.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 'succeeded'));
    expect(new Set(ended.map((run) => run.contextSnapshot.paperclipEnvironment!.id)).size).toBe(1);
    const local = `select id from environments where company_id = $1`;
    expect(await app.database.query(local, [companyId])).toHaveLength(1);
  });

  it('fails a run whose Local is archived, without a lease and without having run', async () => {
    const environments = await user.api.get<{ id: string }[]>(`/companies/${companyId}/environments`);
    await user.api.post(`/environments/${environments.body[0].id}/archive`);
    const { id } = await user.wake(await user.agent(companyId, 'true'));
    expect(await user.ended(id)).toMatchObject({
      status: 'failed',
      errorCode: 'environment_archived',
      startedAt: null,
    });
    expect(await user.leases(id)).toEqual([]);
    expect(await user.actions(companyId, id)).toEqual(['heartbeat.invoked', 'heartbeat.failed']);
  });

  it('uses an existing Local as it is, whatever its name', async () => {
    const fields = { name: 'My machine', driver: 'local', envVars: { PORT_OF_CALL: 'Lisbon' } };
    const { body: mine } = await user.api.post<{ id: string }>(`/companies/${companyId}/environments`, fields);
    const { run } = await runs('echo $PORT_OF_CALL');
    expect(run.contextSnapshot.paperclipEnvironment).toMatchObject({ id: mine.id, name: 'My machine' });
    expect(await user.log(run.id)).toBe('Lisbon\n');
  });

  it('has no transaction open while a process runs', async () => {
    const { id } = await user.wake(await user.agent(companyId, 'sleep 1'));
    await user.reached(id, ['running']);
    const open = await app.database.query(
      `select query from pg_stat_activity
       where datname = current_database() and state like 'idle in transaction%' and pid <> pg_backend_pid()`,
    );
    expect(open).toEqual([]);
    await user.ended(id);
  });

  it('keeps the cap of an agent, a cap of 1 included', async () => {
    const runtimeConfig = { heartbeat: { maxConcurrentRuns: 1 } };
    const agentId = await user.agent(companyId, 'sleep 0.2', { runtimeConfig });
    const woken = [];
    for (const taskKey of ['a', 'b', 'c']) woken.push(await user.wake(agentId, { payload: { taskKey } }));
    await Promise.all(woken.map(({ id }) => user.ended(id)));
    const overlaps = await app.database.query(
      `select 1 from heartbeat_runs a join heartbeat_runs b on a.agent_id = b.agent_id and a.id < b.id
       and tstzrange(a.started_at, a.finished_at) && tstzrange(b.started_at, b.finished_at) where a.agent_id = $1`,
      [agentId],
    );
    expect(overlaps).toEqual([]);
  });

  it('lets the process act with its own token, which is dead when the run has ended', async () => {
    const ask = `fetch(process.env.PAPERCLIP_API_URL + '/api/agents/me', { headers: { authorization: 'Bearer ' +
      process.env.PAPERCLIP_API_KEY } }).then((answer) => answer.text()).then(console.log)
      .then(() => console.log([...process.env.PAPERCLIP_API_KEY].reverse().join('')))`;
    const script = `"${process.execPath}" -e "${ask}"; echo $PAPERCLIP_API_KEY`;
    const { run } = await runs(script);
    const [me, reversed, shown] = (await user.log(run.id)).trim().split('\n');
    expect(JSON.parse(me)).toMatchObject({ id: run.agentId });
    // A log does not show it as it is.
    expect(shown).toBe('[redacted]');
    const token = [...reversed].reverse().join('');
    expect((await user.api.as(token).get('/agents/me')).status).toBe(401);
  });
});
