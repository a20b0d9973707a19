import { ThisHost } from '../../src/environments/this-host.js';
import { PlaceSteps } from '../support/place-steps.js';
import type { Place } from '../support/places.js';
import { outcome, startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

let app: TestApp;
let at: PlaceSteps;
let host: string;

beforeAll(async () => {
  app = await startStillApp();
  host = app.get(ThisHost).id;
});
beforeEach(async () => {
  at = await PlaceSteps.in(app, { leasePolicy: 'retain_on_failure' });
});
afterEach(async () => {
  await at.berths.remove();
  await at.steps.clear();
  await app.database.query('truncate runners');
});
afterAll(() => app.close());

const retained = () => at.left(outcome.failed());
const cleaning = () => at.left(outcome.succeeded());
const inUse = async () => {
  const run = await at.claimed();
  await at.ready(run);
  return run.place!.id;
};
const gone = async () => {
  const placeId = await cleaning();
  await at.sweep();
  return placeId;
};
const REASON = { reason: 'The machine is gone' };

describe('places over HTTP', () => {
  it('can be listed by state, environment, host and whether they are parked', async () => {
    const [kept, old] = [await retained(), await gone()];
    const ids = async (query: string) => (await at.berths.places(query)).map(({ id }) => id);
    expect(await ids('')).toEqual([old, kept]);
    expect(await ids('state=retained')).toEqual([kept]);
    expect(await ids(`environmentId=${at.berths.environmentId}&state=gone`)).toEqual([old]);
    expect(await ids(`environmentId=${at.berths.companyId}`)).toEqual([]);
    expect(await ids(`host=${host}`)).toEqual([old, kept]);
    expect(await ids('host=another')).toEqual([]);
    expect(await ids('parked=true')).toEqual([]);
    expect(await ids('parked=false&limit=1')).toEqual([old]);
  });

  it('say what a person needs to find them', async () => {
    const run = await at.claimed();
    expect(await at.berths.place(run.place!.id)).toMatchObject({
      companyId: at.berths.companyId,
      environmentId: at.berths.environmentId,
      leaseId: run.lease.id,
      state: 'realising',
      driver: 'local',
      adapterType: 'process',
      host,
      facts: run.place!.facts,
      providerLeaseId: null,
      attempts: 0,
    });
  });

  const ACTS: [string, object][] = [
    ['extend', { keepSec: 60 }],
    ['release', {}],
    ['retry-clean-up', {}],
    ['forget', REASON],
  ];

  it.each(ACTS)('%s is for operators only, and for nobody outside the company', async (act, body) => {
    const placeId = await retained();
    const tokenIn = async (companyId: string) => {
      const agentId = await at.berths.user.agent(companyId, 'true', { name: 'keyed' });
      const key = await at.berths.user.api.post<{ token: string }>(`/agents/${agentId}/keys`, { name: 'key' });
      return key.body.token;
    };
    const own = at.berths.user.api.as(await tokenIn(at.berths.companyId));
    const foreign = at.berths.user.api.as(await tokenIn(await at.berths.user.company({ name: 'Pier' })));
    const path = `/environment-places/${placeId}`;
    expect(await own.post(`${path}/${act}`, body)).toMatchObject({ status: 403, body: { code: 'operator_only' } });
    expect(await foreign.post(`${path}/${act}`, body)).toMatchObject({ status: 404 });
    expect(await foreign.get(path)).toMatchObject({ status: 404 });
    expect(await at.row(placeId)).toMatchObject({ state: 'retained' });
  });

  it.each([
    ['extend', 'a place in use', inUse, { keepSec: 60 }],
    ['extend', 'a place that is to be taken down', cleaning, { keepSec: 60 }],
    ['release', 'a place in use', inUse, {}],
    ['release', 'a place that is gone', gone, {}],
    ['retry-clean-up', 'a place that is kept', retained, {}],
    ['forget', 'a place in use', inUse, REASON],
    ['forget', 'a place that is gone', gone, REASON],
  ])('%s is refused for %s', async (act, _what, make, body) => {
    const placeId = await make();
    const before = await at.row(placeId);
    const answer = await at.berths.act(placeId, act, body);
    expect(answer).toMatchObject({ status: 409, body: { code: 'place_state', details: { state: before.state } } });
    expect(await at.row(placeId)).toMatchObject({ state: before.state });
  });

  it('extend also shortens how long a place is kept', async () => {
    const placeId = await retained();
    const { body } = await at.berths.act(placeId, 'extend', { keepSec: 30 });
    expect(Date.parse(body.keepUntil!) - Date.now()).toBeLessThan(31_000);
    expect((await at.berths.act(placeId, 'extend', { keepSec: 0 })).status).toBe(400);
  });

  it('forget lets go of a place that nobody could look at, and says so in the record', async () => {
    const placeId = await retained();
    expect(await at.berths.act(placeId, 'forget', REASON)).toMatchObject({ status: 200, body: { state: 'gone' } });
    expect(await at.isHeld(placeId)).toBe(false);
    const path = `/companies/${at.berths.companyId}/activity?action=environment.place_forgotten`;
    const { body } = await at.berths.user.api.get<{ entityId: string; details: object }[]>(path);
    expect(body).toMatchObject([{ entityId: placeId, actorType: 'user', details: REASON }]);
    expect((await at.berths.act(await retained(), 'forget', {})).status).toBe(400);
  });

  it('forget is refused for a place that any host can take down', async () => {
    const placeId = await retained();
    await at.set(placeId, 'host = null');
    expect(await at.berths.act(placeId, 'forget', REASON)).toMatchObject({
      status: 409,
      body: { code: 'place_not_host_bound' },
    });
  });
});

describe('forgetting a host', () => {
  const forget = (name = host) => at.berths.user.api.post(`/admin/hosts/${name}/forget`, REASON);
  const runner = (seenSecAgo: number, stopped = false) =>
    app.database.query(
      `insert into runners (id, host, host_name, pid, slots, version, last_seen_at, stopped_at)
       values (gen_random_uuid(), $1, 'box', 1, 1, '1', now() - make_interval(secs => $2), case when $3 then now() end)`,
      [host, seenSecAgo, stopped],
    );

  it('lets go of all its places that no lease uses, and of nothing else', async () => {
    const [kept, dirty, used] = [await retained(), await cleaning(), await inUse()];
    expect(await forget('another-host')).toMatchObject({ status: 200, body: { forgotten: 0, remaining: 0 } });
    expect(await forget()).toMatchObject({ status: 200, body: { forgotten: 2, remaining: 1 } });
    const states = await Promise.all([kept, dirty, used].map(async (id) => (await at.row(id)).state));
    expect(states).toEqual(['gone', 'gone', 'in_use']);
    expect([await at.isHeld(kept), await at.isHeld(dirty)]).toEqual([false, false]);
  });

  it('is refused while a runner of it is heard of', async () => {
    const placeId = await retained();
    await runner(5);
    expect(await forget()).toMatchObject({ status: 409, body: { code: 'host_alive' } });
    expect(await at.row(placeId)).toMatchObject({ state: 'retained' });
  });

  it('is not kept from it by runners that have stopped, or were not heard of for long', async () => {
    await retained();
    await runner(5, true);
    await runner(20);
    expect(await forget()).toMatchObject({ status: 200, body: { forgotten: 1, remaining: 0 } });
  });

  it('is for operators only', async () => {
    const agentId = await at.berths.agent('true', { name: 'keyed' });
    const key = await at.berths.user.api.post<{ token: string }>(`/agents/${agentId}/keys`, { name: 'key' });
    const agent = at.berths.user.api.as(key.body.token);
    expect((await agent.post<Place>(`/admin/hosts/${host}/forget`, REASON)).status).toBe(403);
  });
});
