import { Callers } from '../support/reservations.js';
import { PlaceSteps } from '../support/place-steps.js';
import { Berths } from '../support/places.js';
import { outcome, startStillApp } from '../support/still-app.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

describe('a reservation where a run has left a place', () => {
  let app: TestApp;
  let at: Berths;

  beforeAll(async () => {
    app = await startTestApp();
  });
  afterAll(() => app.close());
  afterEach(() => at.remove());

  /** An environment with room for one, in which a run has ended. */
  const leftBehind = async (script: string, fields: object, state: string) => {
    at = await Berths.in(app.url, { capacity: 1, ...fields });
    const { id: runId } = await at.user.wake(await at.agent(script));
    const { id } = await at.reached(runId, state);
    return { runId, id, callers: new Callers(app, at.user.api, at.companyId, at.environmentId) };
  };

  it('takes the room of one that is kept warm, which is taken down first', async () => {
    const { id, callers } = await leftBehind('true', { leasePolicy: 'reuse_by_environment' }, 'warm');
    expect(await callers.ask({ waitSec: 20 })).toMatchObject({ status: 201 });
    expect(await at.place(id)).toMatchObject({ state: 'gone' });
    expect(await callers.mostAtOnce()).toBe(1);
  });

  it('takes it soon after it was refused without waiting, with a key as without', async () => {
    const { id, callers } = await leftBehind('true', { leasePolicy: 'reuse_by_environment' }, 'warm');
    const keyed = at.user.api.with({ 'idempotency-key': 'k' });
    expect(await callers.ask({}, keyed)).toMatchObject({ status: 409 });
    expect(await callers.ask({ waitSec: 20 })).toMatchObject({ status: 201 });
    expect(await at.history(id)).toEqual(['realising', 'ready', 'kept_warm', 'cleaning', 'gone']);
  });

  it('gets no room of one that is retained, and is told so', async () => {
    const { id, runId, callers } = await leftBehind('exit 1', { leasePolicy: 'retain_on_failure' }, 'retained');
    expect(await callers.ask({ waitSec: 1 })).toMatchObject({
      status: 409,
      body: { code: 'environment_at_capacity', details: { heldBy: [{ heartbeatRunId: runId, place: 'retained' }] } },
    });
    expect(await at.place(id)).toMatchObject({ state: 'retained' });
    await at.act(id, 'release');
    expect(await callers.ask({ waitSec: 20 })).toMatchObject({ status: 201 });
  });
});

describe('a reservation where runs have left several places', () => {
  let app: TestApp;
  let at: Berths;
  let callers: Callers;

  beforeAll(async () => {
    app = await startStillApp();
  });
  afterAll(() => app.close());
  afterEach(() => at.remove());

  /** Two warm places, which nothing takes down, in an environment with room for so many. */
  const twoWarm = async (capacity: number) => {
    const steps = await PlaceSteps.in(app, { capacity, leasePolicy: 'reuse_by_environment' });
    at = steps.berths;
    callers = new Callers(app, at.user.api, at.companyId, at.environmentId);
    const runs = [await steps.claimed(), await steps.claimed()];
    for (const run of runs) await steps.ready(run);
    await steps.steps.endAll(runs, outcome.succeeded());
  };
  const states = async () => (await at.places()).map(({ state }) => state).sort();

  it('has no more than one of them give way, however often it asks', async () => {
    await twoWarm(2);
    for (let time = 0; time < 3; time++) expect(await callers.ask()).toMatchObject({ status: 409 });
    expect(await states()).toEqual(['cleaning', 'warm']);
  });

  it('has none of them give way where it is not room that is missing', async () => {
    await twoWarm(4);
    const workspace = { environmentId: at.environmentId, name: 'hull', mode: 'exclusive', cwd: '/tmp' };
    const { body } = await at.user.api.post<{ id: string }>(
      `/companies/${at.companyId}/execution-workspaces`,
      workspace,
    );
    await callers.acquire({ executionWorkspaceId: body.id });
    const refused = await callers.ask({ executionWorkspaceId: body.id });
    expect(refused).toMatchObject({ status: 409, body: { code: 'workspace_occupied' } });
    expect(await states()).toEqual(['warm', 'warm']);
  });
});
