import { FinaliseService } from '../../src/heartbeat/execution/finalise.service.js';
import { ProvisionService } from '../../src/heartbeat/claiming/provision.service.js';
import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import { ReapLeases } from '../../src/heartbeat/ending/reap-leases.js';
import { RenewLeases } from '../../src/leases/renew-leases.js';
import { Scenario } from '../support/scenario.js';
import { countSent } from '../support/sent-counts.js';
import { outcome, startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

const MANY = 8;

/** What an operation costs is a promise: who makes it dearer says so here. */
describe('what is sent to the database', () => {
  let app: TestApp;
  let user: Scenario;
  let agents: string[];
  let companyId: string;

  beforeAll(async () => {
    app = await startStillApp();
    user = new Scenario(app.url);
    companyId = await user.company();
    agents = [];
    for (let n = 0; n < MANY; n++) agents.push(await user.agent(companyId, 'true'));
    // The company's first run makes its environment.
    await user.wake(agents[0]);
    await end(await start(1));
  });
  afterAll(() => app.close());

  const wake = (count: number) => Promise.all(agents.slice(0, count).map((id) => user.wake(id)));
  const start = async (count: number): Promise<ClaimedRun[]> => {
    const runs = await Promise.all(Array.from({ length: count }, () => app.get(ProvisionService).provision()));
    return runs.filter((run) => run !== null);
  };
  const end = (runs: ClaimedRun[]) =>
    Promise.all(runs.map((run) => app.get(FinaliseService).finalise(run, outcome.succeeded())));

  it('by a wake', async () => {
    expect(await countSent(() => wake(1))).toEqual({ roundTrips: 3, statements: 4, commits: 1 });
    await end(await start(1));
  });

  it('by a wake for an issue', async () => {
    const issueId = await user.issue(companyId);
    const payload = { issueId };
    expect(await countSent(() => user.wake(agents[0], { payload }))).toEqual({
      roundTrips: 3,
      statements: 5,
      commits: 1,
    });
    await end(await start(1));
  });

  it.each([1, MANY])('by the start and the end of %s run(s) at once', async (count) => {
    await wake(count);
    let runs: ClaimedRun[] = [];
    expect(await countSent(async () => (runs = await start(count)))).toEqual({
      roundTrips: 3,
      statements: 6,
      commits: 1,
    });
    expect(runs).toHaveLength(count);
    expect(await countSent(() => end(runs))).toEqual({ roundTrips: 2, statements: 4, commits: 1 });
  });

  it.each([1, MANY])('by the renewal of %s lease(s)', async (count) => {
    await wake(count);
    const runs = await start(count);
    const leases = runs.map(({ lease }) => lease);
    expect(await countSent(() => app.get(RenewLeases).renew(leases))).toEqual({
      roundTrips: 1,
      statements: 1,
      commits: 1,
    });
    await end(runs);
  });

  it('by a look for leases that are over, where none is', async () => {
    expect(await countSent(() => app.get(ReapLeases).reap())).toEqual({ roundTrips: 1, statements: 1, commits: 0 });
  });

  it.each([
    ['heartbeat-runs', 2],
    ['heartbeat-runs?full=true', 2],
    ['live-runs', 2],
    ['environment-leases', 2],
    ['environment-places', 2],
    ['execution-workspaces', 2],
    ['activity', 2],
    ['issues', 2],
    ['agents', 2],
    // Whether there is a local one, and what is held in each.
    ['environments', 4],
  ])('by a list of %s', async (list, statements) => {
    const read = () => user.api.get(`/companies/${companyId}/${list}`);
    expect(await countSent(read)).toEqual({ roundTrips: statements, statements, commits: 0 });
  });

  it('by what nobody has to look up', async () => {
    const read = () => user.api.get('/cli-auth/me');
    expect(await countSent(read)).toEqual({ roundTrips: 0, statements: 0, commits: 0 });
  });
});
