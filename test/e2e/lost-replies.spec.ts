import { jest } from '@jest/globals';
import { EntityManager } from '@mikro-orm/postgresql';
import { FinaliseService } from '../../src/heartbeat/execution/finalise.service.js';
import type { Cut } from '../support/database-proxy.js';
import { eventually } from '../support/eventually.js';
import { startProxiedApp, Tally, type ProxiedApp } from '../support/proxied-app.js';
import { Scenario } from '../support/scenario.js';
import { WAKES } from '../support/wakes.js';

const CLAIM = /insert into environment_leases/;
const FINALISE = /set \(status, error, error_code\)/;
const CUTS: [Cut, string][] = [
  ['after', 'was executed and not answered'],
  ['before', 'never arrived'],
  ['late', 'arrives only after the connection was lost'],
];
const WHOLE_LIFE = [
  'heartbeat.invoked',
  'environment.lease_acquired',
  'heartbeat.started',
  'heartbeat.succeeded',
  'environment.lease_released',
];

describe('a commit whose reply is lost', () => {
  let app: ProxiedApp;
  let user: Scenario;
  let companyId: string;
  let tally: Tally;

  beforeAll(async () => {
    app = await startProxiedApp();
    user = new Scenario(app.url);
  });
  beforeEach(async () => {
    companyId = await user.company();
    tally = await Tally.create();
  });
  afterEach(() => tally.remove());
  afterAll(() => app.close());

  /** Expects the whole life of a run that was executed once, under one lease, with its own result. */
  async function expectOneLife(runId: string, output: string): Promise<void> {
    const run = await user.ended(runId);
    expect(run).toMatchObject({ status: 'succeeded', exitCode: 0, error: null });
    const leases = await user.leases(runId);
    expect(leases).toMatchObject([{ id: run.contextSnapshot.paperclipEnvironment!.leaseId, status: 'released' }]);
    expect(await user.log(runId)).toBe(`${output.replace('LEASE', leases[0].id)}\n`);
    expect(await user.actions(companyId, runId)).toEqual(WHOLE_LIFE);
    const wakes = `select status from ${WAKES} where run_id = $1`;
    expect(await app.database.query(wakes, [runId])).toEqual([{ status: 'completed' }]);
  }

  const runsOfCompany = () => app.database.query('select id from heartbeat_runs where company_id = $1', [companyId]);

  describe.each(CUTS)('%s: the commit %s', (cut) => {
    it('of a claim neither strands nor repeats the run', async () => {
      const agentId = await user.agent(companyId, `${tally.add}; echo $PAPERCLIP_LEASE_ID`);
      const happened = app.proxy.cutCommit(cut, CLAIM);
      const { id } = await user.wake(agentId);
      await happened;
      await expectOneLife(id, 'LEASE');
      expect(await tally.count()).toBe(1);
      expect(await runsOfCompany()).toHaveLength(1);
    });

    it('of an end neither loses nor repeats it', async () => {
      const agentId = await user.agent(companyId, `${tally.add}; echo done`);
      const happened = app.proxy.cutCommit(cut, FINALISE);
      const finalise = jest.spyOn(app.get(FinaliseService), 'finalise');
      const { id } = await user.wake(agentId);
      await happened;
      await expectOneLife(id, 'done');
      await expect(finalise.mock.results[0]?.value).resolves.toBeUndefined();
      finalise.mockRestore();
      expect(await tally.count()).toBe(1);
      expect(await runsOfCompany()).toHaveLength(1);
    });
  });

  it.each([CLAIM, FINALISE])('concerns each run of a batch alike: %s', async (matching) => {
    const agents = await Promise.all(Array.from({ length: 5 }, () => user.agent(companyId, `${tally.add}; echo done`)));
    const happened = app.proxy.cutCommit('after', matching);
    const woken = await Promise.all(agents.map((agentId) => user.wake(agentId)));
    await happened;
    for (const { id } of woken) await expectOneLife(id, 'done');
    expect(await tally.count()).toBe(5);
    expect(await runsOfCompany()).toHaveLength(5);
  });

  it('costs the pool no connection', async () => {
    const pool = await app.get(EntityManager).getConnection().getNativeClient();
    const happened = app.proxy.cutCommit('after', FINALISE);
    const { id } = await user.wake(await user.agent(companyId, 'true'));
    await happened;
    await user.ended(id);
    const held = () => Promise.resolve(pool.totalCount - pool.idleCount);
    await eventually(held, (connections) => connections === 0);
  });
});
