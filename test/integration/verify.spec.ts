import { jest } from '@jest/globals';
import { Client } from 'pg';
import { registeredEvents } from '../../src/events/domain-event.js';
import { FOLDS } from '../../src/activity/verify/folds.js';
import { checkRecord, verifyRecord } from '../../src/activity/verify/verify-record.js';
import { anyDriverIsLocal, Fleet } from '../support/fleet.js';
import { HandRunner, OUTCOMES } from '../support/hand-runner.js';
import { holdTransaction } from '../support/held-transaction.js';
import { Berths } from '../support/places.js';
import { Scenario } from '../support/scenario.js';
import { startStillApp } from '../support/still-app.js';
import { startTestApp, type TestApp } from '../support/test-app.js';
import { FAULTS, foldFaults, PREPARATION } from './verify-faults.js';

const STATEMENT_SEC = 30;
/** Events after which the state that the record is checked for is what it was. */
const SILENT = [
  'agent.updated',
  'company.updated',
  'custom.*',
  'environment.lease_metadata_changed',
  'environment.lease_revoke_requested',
  'environment.probed',
  'environment.updated',
  'heartbeat.cancel_requested',
  'heartbeat.coalesced',
  'heartbeat.deferred',
  'heartbeat.skipped',
  'issue.assigned',
  'issue.comment_added',
  'issue.reopened',
  'issue.status_changed',
  'issue.unassigned',
  'issue.updated',
  // A key is its own record: one for the whole instance belongs to no company's.
  'operator_key.created',
  'operator_key.revoked',
  'retention.removed',
  'secret.updated',
];
const wrong = (results: Awaited<ReturnType<typeof verifyRecord>>) => results.filter(({ found }) => found > 0);

describe('the verification of the record', () => {
  let app: TestApp;
  let fleet: Fleet;

  beforeAll(async () => {
    app = await startStillApp();
    fleet = new Fleet(app, await new Scenario(app.url).company());
  });
  afterEach(() => jest.restoreAllMocks());
  afterAll(() => app.close());

  const verify = () => verifyRecord(app.database.url, STATEMENT_SEC);
  const post = async (path: string, body: object = {}) => {
    const answer = await fleet.user.api.post(path, body);
    if (answer.status >= 300) throw new Error(`${path} was answered ${answer.status}: ${JSON.stringify(answer.body)}`);
  };

  it('finds nothing while runs start and end, fail, are cancelled, wait for slots and workspaces, and leave places', async () => {
    const environmentId = await fleet.create('environments', { name: 'Local', driver: 'local', capacity: 2 });
    const workspace = { environmentId, name: 'checkout', mode: 'exclusive', cwd: '/tmp' };
    const executionWorkspaceId = await fleet.create('execution-workspaces', workspace);
    const runner = await startTestApp({ database: app.database, config: { runnerSlots: 6 } });
    try {
      const busy = await fleet.agent();
      const failing = await fleet.user.agent(fleet.companyId, 'exit 3');
      const slow = await fleet.user.agent(fleet.companyId, 'sleep 30');
      const cancelled = await fleet.wake(slow, 1);
      const berths = await Berths.in(app.url, { capacity: 6, leasePolicy: 'retain_on_failure' });
      const housed = [await berths.agent('true'), await berths.agent('exit 3')];
      for (let round = 0; round < 4; round++) {
        await fleet.wake(busy, 4);
        await fleet.wake(failing, 1);
        await Promise.all(housed.map((agentId) => fleet.wake(agentId, 1)));
        await fleet.wakeFor(busy, { executionWorkspaceId });
        expect(wrong(await verify())).toEqual([]);
      }
      await post(`/heartbeat-runs/${cancelled[0]}/cancel`);
      const idle = `select status from heartbeat_runs where status in ('queued', 'running')`;
      while ((await app.database.query(idle)).length > 0) expect(wrong(await verify())).toEqual([]);
    } finally {
      await runner.close();
    }
    expect(wrong(await verify())).toEqual([]);
    const states = await app.database.query<{ state: string }>(
      'select distinct state from environment_places order by 1',
    );
    expect(states.map(({ state }) => state)).toEqual(expect.arrayContaining(['gone', 'retained']));
  });

  it('finds nothing after everything else that the record tells of', async () => {
    anyDriverIsLocal(app);
    const hand = new HandRunner(app);
    const agentId = await fleet.agent(2);
    await fleet.wake(agentId, 2);
    await hand.lose(await hand.started(agentId));
    await hand.end(await hand.started(agentId), OUTCOMES.shutdown);
    await hand.end(await hand.started(agentId), OUTCOMES.transient);
    await post(`/agents/${await fleet.agent()}/keys`, { name: 'kept' });
    for (const name of ['rotated', 'deleted']) {
      const id = await fleet.create('secrets', { name, value: 'heave-ho' });
      await post(`/secrets/${id}/rotate`, { value: 'heave-ho-ho' });
      if (name === 'deleted') await fleet.user.api.delete(`/secrets/${id}`);
    }
    await post(`/agents/${agentId}/pause`);
    await post(`/agents/${agentId}/resume`);
    const gone = await fleet.agent();
    await fleet.wake(gone, 1);
    await fleet.user.api.delete(`/agents/${gone}`);
    const place = await fleet.workspace('shared');
    await fleet.user.api.patch(`/execution-workspaces/${place.id}`, { status: 'archived' });
    await fleet.user.api.patch(`/execution-workspaces/${place.id}`, { status: 'active' });
    await fleet.user.api.patch(`/execution-workspaces/${place.id}`, { status: 'archived' });
    for (const change of ['drain', 'activate', 'archive']) await post(`/environments/${place.environmentId}/${change}`);
    await fleet.user.api.delete(`/environments/${place.environmentId}`);
    await fleet.user.api.delete(`/issues/${await fleet.user.issue(fleet.companyId)}`);
    const archived = await fleet.user.company({ issuePrefix: 'OLD' });
    await post(`/companies/${archived}/archive`);
    expect(wrong(await verify())).toEqual([]);

    const { status, body } = await fleet.user.api.get<{ ok: boolean; checks: object[] }>('/admin/verify');
    expect({ status, ok: body.ok }).toEqual({ status: 200, ok: true });
  });

  it('is of one moment, however long it takes', async () => {
    const other = await holdTransaction(app.database, 'lock table agents in access exclusive mode');
    const verified = verify();
    await other.blocksSomebody();
    await other.query(
      `insert into agents (id, company_id, name, adapter_type) values (gen_random_uuid(), $1, 'x', 'process')`,
      [fleet.companyId],
    );
    await other.commit();
    expect(wrong(await verified)).toEqual([]);

    const { body } = await fleet.user.api.get<{ ok: boolean; checks: { name: string; found: number }[] }>(
      '/admin/verify',
    );
    expect(body.checks.filter(({ found }) => found > 0)).toMatchObject([{ name: 'agents_as_recorded', found: 1 }]);
    expect(body.ok).toBe(false);
    await app.database.query(`delete from agents where name = 'x'`);
  });

  it('is for operators', async () => {
    const { body } = await fleet.user.api.post<{ token: string }>(`/agents/${await fleet.agent()}/keys`, {
      name: 'mine',
    });
    expect((await fleet.user.api.as(body.token).get('/admin/verify')).status).toBe(403);
  });

  it('knows of every event whether it says something about a state', () => {
    const telling = new Set(FOLDS.flatMap(({ after }) => after.map(([event]) => event.action)));
    const silent = registeredEvents().filter(({ action }) => !telling.has(action));
    expect(silent.map(({ action }) => action)).toEqual(SILENT);
  });

  describe('finds', () => {
    let client: Client;

    beforeAll(async () => {
      const agentId = await fleet.agent();
      await fleet.wake(agentId, 1);
      await new HandRunner(app).started(agentId);
      await app.database.query(PREPARATION);
      client = new Client(app.database.url);
      await client.connect();
      expect(wrong(await verify())).toEqual([]);
    });
    afterEach(() => client.query('rollback'));
    afterAll(() => client.end());

    const plant = async (statements: readonly string[]): Promise<string> => {
      await client.query('set local session_replication_role = replica');
      let id: string | undefined;
      for (const statement of statements) {
        const { rows } = await client.query<{ id?: string }>(statement);
        id = rows[0]?.id;
      }
      if (!id) throw new Error('Nothing was planted');
      return id;
    };

    it.each([...foldFaults(FOLDS), ...FAULTS].map((fault) => [fault.what, fault] as const))(
      '%s',
      async (_what, { check, plant: statements }) => {
        await client.query('begin');
        const id = await plant(statements);
        const found = (await checkRecord(client)).find(({ name }) => name === check);
        expect(found?.divergences.map((divergence) => divergence.id)).toContain(id);
        expect(found?.divergences.find((divergence) => divergence.id === id)?.sentence).toContain(id);
      },
    );

    it('has a fault here for each of its checks', async () => {
      const planted = new Set([...foldFaults(FOLDS), ...FAULTS].map(({ check }) => check));
      expect((await checkRecord(client)).map(({ name }) => name).filter((name) => !planted.has(name))).toEqual([]);
    });
  });
});
