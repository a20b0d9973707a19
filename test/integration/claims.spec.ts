import { jest } from '@jest/globals';
import { EntityManager } from '@mikro-orm/postgresql';
import { anyDriverIsLocal, Fleet } from '../support/fleet.js';
import { holdTransaction } from '../support/held-transaction.js';
import { Scenario } from '../support/scenario.js';
import { startTestApp, type TestApp } from '../support/test-app.js';
import { inTransaction } from '../../src/database/transaction.js';
import { ClaimRuns } from '../../src/heartbeat/claiming/claim-runs.js';
import { Gate, type Candidate } from '../../src/heartbeat/claiming/gate.js';
import { ProvisionService } from '../../src/heartbeat/claiming/provision.service.js';

/** What was seen without locks is decided again under them. Each claim here goes for one run that was free to start. */
describe('a claim', () => {
  let apps: [TestApp, TestApp];
  let fleet: Fleet;

  beforeAll(async () => {
    const first = await startTestApp({ config: { roles: new Set(['api']) } });
    apps = [first, await startTestApp({ config: { roles: new Set(['api']) }, database: first.database })];
  });
  afterAll(async () => {
    await apps[1].close();
    await apps[0].close();
  });
  beforeEach(async () => {
    anyDriverIsLocal(...apps);
    fleet = new Fleet(apps[0], await new Scenario(apps[0].url).company());
  });
  afterEach(() => jest.restoreAllMocks());

  /** How the gate sees runs before any lock. */
  const candidates = async (...runIds: string[]) => {
    const { candidates: seen } = await apps[0].get(Gate).candidates(1000);
    return runIds.map((runId) => seen.find(({ id }) => id === runId)!);
  };
  const claim = (candidate: Candidate, app = apps[0]) => app.get(ClaimRuns).claim([candidate], 1);
  /** Two processes go for one run each, at the same moment. */
  const claimAtOnce = async ([first, second]: Candidate[]) => {
    const answers = await Promise.allSettled([claim(first, apps[0]), claim(second, apps[1])]);
    return answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
  };
  const running = () =>
    apps[0].database.query(`select id from heartbeat_runs where company_id = $1 and status = 'running'`, [
      fleet.companyId,
    ]);
  const setCap = (path: string, body: object) => fleet.user.api.patch(path, body);

  describe('never starts two runs at once', () => {
    const ROUNDS = [1, 2, 3, 4, 5];

    it.each(ROUNDS)('of an agent with a cap of 1 (round %i)', async () => {
      const agentId = await fleet.agent(2);
      const seen = await candidates(...(await fleet.wake(agentId, 2)));
      await setCap(`/agents/${agentId}`, { runtimeConfig: { heartbeat: { maxConcurrentRuns: 1 } } });
      expect(await claimAtOnce(seen)).toHaveLength(1);
      expect(await running()).toHaveLength(1);
    });

    it.each(ROUNDS)('of a company with a cap of 1 (round %i)', async () => {
      await setCap(`/companies/${fleet.companyId}`, { maxConcurrentRuns: 2 });
      const woken = [await fleet.wake(await fleet.agent(), 1), await fleet.wake(await fleet.agent(), 1)];
      const seen = await candidates(...woken.flat());
      await setCap(`/companies/${fleet.companyId}`, { maxConcurrentRuns: 1 });
      expect(await claimAtOnce(seen)).toHaveLength(1);
      expect(await running()).toHaveLength(1);
    });

    it.each(ROUNDS)('in an exclusive workspace, and holds that against neither (round %i)', async () => {
      const { id: executionWorkspaceId } = await fleet.workspace('exclusive');
      const woken = [];
      for (let agent = 0; agent < 2; agent++)
        woken.push(await fleet.wakeFor(await fleet.agent(), { executionWorkspaceId }));
      const seen = await candidates(...woken);
      const slots = apps.map((app, index) => {
        jest
          .spyOn(app.get(Gate), 'candidates')
          .mockResolvedValueOnce({ candidates: [seen[index]], certain: 1, more: false });
        return app.get(ProvisionService).provision();
      });
      expect((await Promise.all(slots)).filter((run) => run !== null)).toHaveLength(1);
      expect(await running()).toHaveLength(1);
      const errors = 'select id from heartbeat_runs where company_id = $1 and claim_errors > 0';
      expect(await apps[0].database.query(errors, [fleet.companyId])).toEqual([]);
    });
  });

  it('that the database ends for another transaction’s sake is held against nobody', async () => {
    const [seen] = await candidates(...(await fleet.wake(await fleet.agent(), 1)));
    const { database } = apps[0];
    const holder = await holdTransaction(database, 'lock table environment_leases in share row exclusive mode');
    const slot = apps[0].get(ProvisionService).provision();
    await holder.blocksSomebody();
    // Both wait for each other now; who began to wait first is ended.
    const others = holder.query('select from agents where id = $1 for update', [seen.agentId]);
    expect(await slot).toBeNull();
    await others;
    await holder.commit();
    expect(await database.query('select from heartbeat_runs where claim_errors > 0')).toEqual([]);
    expect(await apps[0].get(ProvisionService).provision()).toMatchObject({ id: seen.id });
  });

  describe('starts nothing that may not start any more:', () => {
    it('when the agent was paused', async () => {
      const agentId = await fleet.agent();
      const [seen] = await candidates(...(await fleet.wake(agentId, 1)));
      await fleet.user.api.post(`/agents/${agentId}/pause`, { drain: true });
      expect(await claim(seen)).toEqual([]);
    });

    it('when the environment began to drain', async () => {
      const environmentId = await fleet.create('environments', { name: 'site', driver: 'other' });
      const [seen] = await candidates(await fleet.wakeFor(await fleet.agent(), { environmentId }));
      await fleet.user.api.post(`/environments/${environmentId}/drain`);
      expect(await claim(seen)).toEqual([]);
    });

    it('when the exclusive workspace was taken', async () => {
      const { id: executionWorkspaceId } = await fleet.workspace('exclusive');
      const woken = [];
      for (let agent = 0; agent < 2; agent++)
        woken.push(await fleet.wakeFor(await fleet.agent(), { executionWorkspaceId }));
      const [first, second] = await candidates(...woken);
      expect(await claim(first)).toHaveLength(1);
      expect(await claim(second)).toEqual([]);
    });

    it('when the agent reached its cap', async () => {
      const agentId = await fleet.agent(2);
      const [first, second] = await candidates(...(await fleet.wake(agentId, 2)));
      await setCap(`/agents/${agentId}`, { runtimeConfig: { heartbeat: { maxConcurrentRuns: 1 } } });
      expect(await claim(first)).toHaveLength(1);
      expect(await claim(second)).toEqual([]);
    });

    it('when the company was given a cap, which nobody could count against yet', async () => {
      const [seen] = await candidates(...(await fleet.wake(await fleet.agent(), 1)));
      await setCap(`/companies/${fleet.companyId}`, { maxConcurrentRuns: 1 });
      expect(await claim(seen)).toEqual([]);
      expect(await claim((await candidates(seen.id))[0])).toHaveLength(1);
    });

    it('when somebody else holds its agent, and leaves the run alone meanwhile', async () => {
      const [seen] = await candidates(...(await fleet.wake(await fleet.agent(), 1)));
      const { database } = apps[0];
      const holder = await holdTransaction(database, 'select from agents where id = $1 for update', [seen.agentId]);
      await inTransaction(apps[0].get(EntityManager), async () => {
        expect(await apps[0].get(Gate).enter([seen])).toEqual([]);
        await holder.query('select from heartbeat_runs where id = $1 for update nowait', [seen.id]);
      });
      await holder.commit();
    });

    it('when it has started', async () => {
      const [seen] = await candidates(...(await fleet.wake(await fleet.agent(), 1)));
      expect(await claim(seen)).toHaveLength(1);
      expect(await claim(seen)).toEqual([]);
    });
  });
});
