import { jest } from '@jest/globals';
import { verifyRecord } from '../../src/activity/verify/verify-record.js';
import { AcquireLeases } from '../../src/leases/acquire-leases.js';
import { WorkspaceOccupiedError } from '../../src/leases/lease-errors.js';
import { Fleet } from '../support/fleet.js';
import { Berths } from '../support/places.js';
import { rounds } from '../support/rounds.js';
import { Scenario } from '../support/scenario.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

const PROCESSES = 3;
/** A multiple of three. */
const RUNS = rounds(36);

interface Held {
  id: string;
  slot: number | null;
  acquired_at: Date;
  until: Date;
  fencing_token: string;
}

/** Several processes hand on what one lease at a time may hold. */
describe('the history of what is handed on under contention', () => {
  let apps: TestApp[];
  let refused: unknown[];

  beforeAll(async () => {
    apps = [await startTestApp()];
    while (apps.length < PROCESSES) apps.push(await startTestApp({ database: apps[0].database }));
  });
  afterAll(async () => {
    for (const app of apps.toReversed()) await app.close();
  });
  beforeEach(() => {
    refused = [];
    for (const app of apps) watch(app.get(AcquireLeases));
  });
  afterEach(() => jest.restoreAllMocks());

  /** Notes what the database refused to any process, which the dispatch would try again. */
  const watch = (leases: AcquireLeases) => {
    const acquire = leases.acquire.bind(leases);
    jest.spyOn(leases, 'acquire').mockImplementation(async (...request) => {
      const acquired = await acquire(...request);
      acquired.answer.catch((error: unknown) => refused.push(error));
      return acquired;
    });
  };
  const historyOf = (column: string, id: string, until: string) =>
    apps[0].database.query<Held>(
      `select id, slot, acquired_at, ${until} as until, fencing_token from environment_leases where ${column} = $1
       order by slot, acquired_at, fencing_token`,
      [id],
    );
  /** One holder after the other, each with a higher token. */
  const expectInOrder = async (history: Held[]) => {
    for (const [index, lease] of history.entries()) {
      const before = index > 0 ? history[index - 1] : null;
      if (before?.slot !== lease.slot) continue;
      expect(lease.acquired_at.getTime()).toBeGreaterThanOrEqual(before.until.getTime());
      expect(Number(lease.fencing_token)).toBeGreaterThan(Number(before.fencing_token));
    }
    const results = await verifyRecord(apps[0].database.url, 30);
    expect(results.filter(({ found }) => found > 0)).toEqual([]);
  };

  it('is one holder of a slot after the other', async () => {
    const fleet = new Fleet(apps[0], await new Scenario(apps[0].url).company());
    const environmentId = await fleet.create('environments', { name: 'Local', driver: 'local', capacity: 2 });
    for (let agent = 0; agent < 3; agent++) await fleet.wake(await fleet.agent(), RUNS / 3);
    await fleet.allEnded();
    const history = await historyOf('environment_id', environmentId, 'held_until');
    expect(history).toHaveLength(RUNS);
    expect(new Set(history.map(({ slot }) => slot))).toEqual(new Set([1, 2]));
    await expectInOrder(history);
    expect(refused).toEqual([]);
  });

  it('is one holder of an exclusive workspace after the other', async () => {
    const fleet = new Fleet(apps[0], await new Scenario(apps[0].url).company());
    const environmentId = await fleet.create('environments', { name: 'Local', driver: 'local' });
    const workspace = { environmentId, name: 'checkout', mode: 'exclusive', cwd: '/tmp' };
    const executionWorkspaceId = await fleet.create('execution-workspaces', workspace);
    for (let agent = 0; agent < RUNS; agent++) await fleet.wakeFor(await fleet.agent(), { executionWorkspaceId });
    await fleet.allEnded();
    const history = await historyOf('execution_workspace_id', executionWorkspaceId, 'released_at');
    expect(history).toHaveLength(RUNS);
    await expectInOrder(history);
    // No lock keeps two processes from going for a workspace that both saw free: one is refused, and looks again.
    expect(refused.filter((error) => !(error instanceof WorkspaceOccupiedError))).toEqual([]);
    const errors = 'select 1 from heartbeat_runs where company_id = $1 and claim_errors > 0';
    expect(await apps[0].database.query(errors, [fleet.companyId])).toEqual([]);
  });

  it('is one holder of a slot after the other where places are handed on with it', async () => {
    const berths = await Berths.in(apps[0].url, { capacity: 2, leasePolicy: 'reuse_by_environment' });
    const fleet = new Fleet(apps[0], berths.companyId);
    for (let agent = 0; agent < 3; agent++) await fleet.wake(await berths.agent('true'), RUNS / 3);
    await fleet.allEnded();
    const history = await historyOf('environment_id', berths.environmentId, `coalesce(held_until, 'infinity')`);
    expect(history).toHaveLength(RUNS);
    expect((await berths.places()).length).toBeLessThan(RUNS);
    await expectInOrder(history);
    expect(refused).toEqual([]);
  });
});
