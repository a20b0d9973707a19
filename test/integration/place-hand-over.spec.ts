import { setTimeout as delay } from 'node:timers/promises';
import { jest } from '@jest/globals';
import { BeginPlaces } from '../../src/leases/places/begin-places.js';
import { CleanUpPlaces } from '../../src/leases/places/clean-up-places.js';
import { SettlePlaces } from '../../src/leases/places/settle-places.js';
import { eventually } from '../support/eventually.js';
import { holdTransaction } from '../support/held-transaction.js';
import { PlaceSteps } from '../support/place-steps.js';
import { outcome, startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

const ROUNDS = 8;
/** Nobody who does not wait for anybody takes that long. */
const LONGEST_MS = 5000;

let app: TestApp;
let at: PlaceSteps;

beforeAll(async () => {
  app = await startStillApp();
});
afterEach(async () => {
  jest.restoreAllMocks();
  await at.berths.remove();
  await at.steps.clear();
});
afterAll(() => app.close());

describe('a place that the sweeper and a new holder want at once', () => {
  beforeEach(async () => {
    at = await PlaceSteps.in(app, { leasePolicy: 'reuse_by_environment' });
  });

  const giveUp = async () => {
    const places = app.get(CleanUpPlaces);
    await places.giveUp(await places.kept(null, 100));
  };

  it('goes to the holder who came first, although its time is over by then', async () => {
    const placeId = await at.left();
    await at.set(placeId, `keep_until = now() + interval '500 ms'`);
    const places = app.get(BeginPlaces);
    const takeOver = places.takeOver.bind(places);
    const [held, isOver] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    jest.spyOn(places, 'takeOver').mockImplementation(async (takeOvers) => {
      held.resolve();
      await isOver.promise;
      await takeOver(takeOvers);
    });
    const claimed = at.claimed();
    await held.promise;
    const over = 'select 1 from environment_places where id = $1 and keep_until <= now()';
    await eventually(
      () => app.database.query(over, [placeId]),
      (rows) => rows.length === 1,
    );
    await giveUp();
    isOver.resolve();
    expect((await claimed).place).toMatchObject({ id: placeId, takenOver: true });
    expect(await at.row(placeId)).toMatchObject({ state: 'in_use' });
  });

  it('goes to the sweeper that came first; the holder waits for nobody and gets another', async () => {
    const placeId = await at.left();
    const sweeper = await holdTransaction(
      app.database,
      `update environment_places set state = 'cleaning', keep_until = null, next_attempt_at = now() where id = $1`,
      [placeId],
    );
    let committed = false;
    const claimed = at.claimed().then(({ place: its }) => ({ place: its, waited: committed }));
    await Promise.race([claimed, delay(LONGEST_MS)]);
    committed = true;
    await sweeper.commit();
    const { place, waited } = await claimed;
    expect(waited).toBe(false);
    expect(place).toMatchObject({ id: expect.not.stringMatching(placeId), takenOver: false });
    expect(await at.row(placeId)).toMatchObject({ state: 'cleaning' });
  });

  it('goes to one of them, whatever the moment', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const placeId = await at.left();
      await at.set(placeId, `keep_until = now() + interval '${round * 6} ms'`);
      const [run] = await Promise.all([at.claimed(), giveUp(), giveUp().then(giveUp).then(giveUp)]);
      const isTaken = run.place!.id === placeId;
      expect(run.place!.takenOver).toBe(isTaken);
      const { state } = await eventually(
        () => giveUp().then(() => at.row(placeId)),
        (row) => row.state !== 'warm',
      );
      expect(state).toBe(isTaken ? 'in_use' : 'cleaning');
      await at.steps.end(run, outcome.failed());
    }
  });
});

describe('a place that goes to its next holder', () => {
  it('is not concluded to be gone while that one may be making it ready, although it was ready before', async () => {
    at = await PlaceSteps.in(app, { leasePolicy: 'reuse_by_environment' });
    const placeId = await at.left();
    const next = await at.claimed();
    expect(next.place).toMatchObject({ id: placeId, takenOver: true });
    await at.steps.lose(next);
    await at.sweep();
    expect(await at.row(placeId)).toMatchObject({ state: 'cleaning', attempts: 1 });
    expect(await at.isHeld(placeId)).toBe(true);
    expect(await app.get(SettlePlaces).settled(placeId, next.lease.id)).toBe('cleaning');
    await at.sweep();
    expect(await at.row(placeId)).toMatchObject({ state: 'gone' });
  });

  it('is not touched any more by a former one who comes late', async () => {
    at = await PlaceSteps.in(app, { leasePolicy: 'reuse_by_environment' });
    const first = await at.claimed();
    const placeId = first.place!.id;
    await at.ready(first);
    await at.steps.end(first, outcome.succeeded());
    await at.claimed();
    const before = await at.row(placeId);
    expect(await app.get(SettlePlaces).settled(placeId, first.lease.id)).toBeNull();
    expect(await at.ready(first)).toBe(false);
    const { realise_deadline_at, state } = await at.row(placeId);
    expect({ realise_deadline_at, state }).toEqual({
      realise_deadline_at: before.realise_deadline_at,
      state: 'in_use',
    });
  });

  it('is that of a failed run for its retry, and for nobody else', async () => {
    at = await PlaceSteps.in(app, { leasePolicy: 'retain_on_failure', capacity: 2 });
    const failed = await at.claimed();
    await at.ready(failed);
    await at.steps.end(failed, outcome.transient());
    const placeId = failed.place!.id;
    expect(await at.row(placeId)).toMatchObject({ state: 'retained' });
    expect((await at.claimed()).place).toMatchObject({ takenOver: false });
    await at.steps.retriesAreDue();
    const retry = await at.steps.started();
    expect(retry.place).toMatchObject({ id: placeId, takenOver: true, facts: failed.place!.facts });
    expect(await at.row(placeId)).toMatchObject({ state: 'in_use', lease_id: retry.lease.id });
  });
});

describe(SettlePlaces.name, () => {
  beforeEach(async () => {
    at = await PlaceSteps.in(app);
  });

  it('may be told twice that a place is ready, and records it once', async () => {
    const run = await at.claimed();
    expect([await at.ready(run), await at.ready(run)]).toEqual([true, true]);
    expect(await at.berths.history(run.place!.id)).toEqual(['realising', 'ready']);
  });

  it.each([
    ['with another token', { fencingToken: 999_999 }, ''],
    ['when the lease has run out', {}, `expires_at = acquired_at + interval '1 ms'`],
  ])('takes no place as ready %s', async (_when, wrong, change) => {
    const run = await at.claimed();
    if (change) await app.database.query(`update environment_leases set ${change} where id = $1`, [run.lease.id]);
    expect(await at.ready({ ...run, lease: { ...run.lease, ...wrong } })).toBe(false);
    expect(await at.row(run.place!.id)).toMatchObject({ state: 'realising' });
  });
});
