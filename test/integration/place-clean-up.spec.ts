import { jest } from '@jest/globals';
import { DriverRegistry } from '../../src/environments/drivers/driver-registry.js';
import { CleanUpPlaces, MAX_ATTEMPTS } from '../../src/leases/places/clean-up-places.js';
import { PlaceSweeper } from '../../src/leases/places/place-sweeper.js';
import { SettlePlaces } from '../../src/leases/places/settle-places.js';
import { ThisHost } from '../../src/environments/this-host.js';
import { eventually } from '../support/eventually.js';
import { PlaceSteps } from '../support/place-steps.js';
import { outcome, startStillApp } from '../support/still-app.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

type Teardown = (facts: Record<string, unknown>, signal: AbortSignal) => Promise<'removed' | 'absent'>;

let app: TestApp;
let at: PlaceSteps;
let teardown: jest.SpiedFunction<Teardown>;
const removed: string[] = [];

beforeAll(async () => {
  app = await startStillApp();
});
beforeEach(async () => {
  at = await PlaceSteps.in(app);
  removed.length = 0;
  teardown = jest.spyOn(app.get(DriverRegistry).get('local'), 'teardown');
  teardown.mockImplementation(async ({ placeId }) => {
    removed.push(placeId as string);
    return 'removed';
  });
});
afterEach(async () => {
  jest.restoreAllMocks();
  await at.berths.remove();
  await at.steps.clear();
});
afterAll(() => app.close());

describe(PlaceSweeper.name, () => {
  it('takes a place down once its lease has ended, and frees what that held', async () => {
    const run = await at.claimed();
    await at.ready(run);
    await at.sweep();
    expect(teardown).not.toHaveBeenCalled();
    await at.steps.end(run, outcome.succeeded());
    const { id } = run.place!;
    expect(await at.isHeld(id)).toBe(true);
    await at.sweep();
    expect(teardown).toHaveBeenCalledWith(run.place!.facts, expect.any(AbortSignal));
    expect(await at.row(id)).toMatchObject({ state: 'gone', attempts: 1 });
    expect(await at.isHeld(id)).toBe(false);
  });

  it('tries again what failed, later each time', async () => {
    const placeId = await at.left();
    teardown.mockRejectedValue(new Error('The device is busy'));
    for (const attempt of [1, 2, 3]) {
      await at.sweep();
      await at.sweep();
      expect(teardown).toHaveBeenCalledTimes(attempt);
      const row = await at.row(placeId);
      expect(row).toMatchObject({ state: 'cleaning', attempts: attempt, last_error: 'The device is busy' });
      const longest = 2 ** (attempt - 1);
      expect(row.next_attempt_sec).toBeLessThanOrEqual(longest);
      expect(row.next_attempt_sec).toBeGreaterThan(longest / 2 - 0.5);
      await at.due(placeId);
    }
    expect(await at.berths.history(placeId)).toEqual([
      ...['realising', 'ready', 'cleaning'],
      ...['clean_up_failed', 'clean_up_failed', 'clean_up_failed'],
    ]);
  });

  it('parks what failed too often, shows it, and goes on when an operator says so', async () => {
    const placeId = await at.left();
    teardown.mockRejectedValue(new Error('The device is busy'));
    await at.set(placeId, `attempts = ${MAX_ATTEMPTS - 1}`);
    await at.sweep();
    await at.due(placeId);
    await at.sweep();
    expect(teardown).toHaveBeenCalledTimes(1);
    const [parked] = await at.berths.places('parked=true');
    expect(parked).toMatchObject({ id: placeId, attempts: MAX_ATTEMPTS, lastError: 'The device is busy' });
    expect(await at.isHeld(placeId)).toBe(true);
    const lease = () => at.berths.user.api.get(`/environment-leases/${parked.leaseId}`);
    expect((await lease()).body).toMatchObject({ cleanupStatus: 'failed', cleanupAttempts: MAX_ATTEMPTS });

    teardown.mockResolvedValue('removed');
    expect(await at.berths.act(placeId, 'retry-clean-up')).toMatchObject({
      status: 200,
      body: { state: 'cleaning', parkedAt: null, attempts: 0 },
    });
    await at.sweep();
    expect((await lease()).body).toMatchObject({ cleanupStatus: 'success', cleanupAttempts: 1 });
    const history = ['realising', 'ready', 'cleaning', 'parked', 'changed', 'gone'];
    expect(await at.berths.history(placeId)).toEqual(history);
  });

  it('takes other places down while one is slow, and gives that one up when its time is over', async () => {
    const slow = await at.left();
    const quick = await at.left();
    const timeout = AbortSignal.timeout.bind(AbortSignal);
    jest.spyOn(AbortSignal, 'timeout').mockImplementation((ms) => timeout(ms / 500));
    teardown.mockImplementation(async ({ placeId }, signal) => {
      if (placeId === quick) return 'removed';
      return new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error));
      });
    });
    await app.get(PlaceSweeper).sweep();
    await eventually(
      () => at.row(quick),
      ({ state }) => state === 'gone',
    );
    expect(await at.row(slow)).toMatchObject({ state: 'cleaning', attempts: 1, last_error: null });
    await app.get(PlaceSweeper).settled();
    expect(await at.row(slow)).toMatchObject({ last_error: 'It took longer than 120 seconds' });
  });

  it('leaves the run as it ended, whatever becomes of its place', async () => {
    const run = await at.claimed();
    await at.ready(run);
    await at.steps.end(run, outcome.succeeded());
    const before = await at.berths.user.run(run.id);
    teardown.mockRejectedValue(new Error('stuck'));
    await at.sweep();
    expect(await at.berths.user.run(run.id)).toEqual(before);
  });

  it('gives up what is kept for nothing, also when one of them cannot be', async () => {
    const kept = await PlaceSteps.in(app, { leasePolicy: 'reuse_by_environment' });
    const runs = [await kept.claimed(), await kept.claimed(), await kept.claimed()];
    const ids = runs.map(({ place }) => place!.id).sort();
    for (const run of runs) await kept.ready(run);
    for (const run of runs) await kept.steps.end(run, outcome.succeeded());
    for (const id of ids) await kept.set(id, `keep_until = now() - interval '1 s'`);
    const [bad, ...others] = ids;
    await app.database.query(`
      create function refuse() returns trigger language plpgsql as $$ begin raise 'not this one'; end $$;
      create trigger refuse before update on environment_places for each row
        when (old.id = '${bad}' and new.state = 'cleaning') execute function refuse()`);
    await kept.sweep();
    await app.database.query('drop function refuse cascade');
    expect(removed.sort()).toEqual(others);
    expect(await kept.row(bad)).toMatchObject({ state: 'warm' });
    await kept.sweep();
    expect(await kept.row(bad)).toMatchObject({ state: 'gone' });
  });

  it('looks once more when its process stops', async () => {
    const stopping = await startTestApp({ config: { roles: new Set(['api']) }, database: app.database });
    const host = stopping.get(ThisHost).id;
    const placeId = await at.left();
    // Given to the host whose process has just looked.
    await at.set(placeId, `host = '${host}'`);
    await stopping.close();
    expect(await at.row(placeId)).toMatchObject({ state: 'gone' });
  });

  it('does nothing in quarantine', async () => {
    await at.left();
    await app.database.query(`update instance set quarantined_at = now(), quarantine_reason = 'a test'`);
    await at.sweep();
    expect(teardown).not.toHaveBeenCalled();
    await app.database.query('update instance set quarantined_at = null, quarantine_reason = null');
    await at.sweep();
    expect(teardown).toHaveBeenCalled();
  });
});

describe(CleanUpPlaces.name, () => {
  const places = () => app.get(CleanUpPlaces);
  const here = () => app.get(ThisHost).id;

  it('gives each place to one of those who ask at once', async () => {
    const ids = [];
    for (let count = 0; count < 10; count++) ids.push(await at.left());
    const taken = await Promise.all(Array.from({ length: 8 }, () => places().take(here(), 4, 60)));
    expect(
      taken
        .flat()
        .map(({ id }) => id)
        .sort(),
    ).toEqual(ids.sort());
  });

  it('gives a place to its own host only', async () => {
    const placeId = await at.left();
    expect(await places().take('another-host', 10, 60)).toEqual([]);
    expect(await places().take(here(), 10, 60)).toMatchObject([{ id: placeId }]);
  });

  it('gives a place of any host to any', async () => {
    const placeId = await at.left();
    await at.set(placeId, 'host = null');
    expect(await places().take('another-host', 10, 60)).toMatchObject([{ id: placeId }]);
  });

  it('gives a place again when its attempt was not heard of, and believes the last attempt only', async () => {
    const placeId = await at.left();
    const [first] = await places().take(here(), 10, 60);
    expect(await places().take(here(), 10, 60)).toEqual([]);
    await at.due(placeId);
    const [second] = await places().take(here(), 10, 60);
    expect(second).toMatchObject({ id: placeId, attempt: 2 });
    await places().takenDown(first);
    await places().failed(first, 'too late', 1);
    expect(await at.row(placeId)).toMatchObject({ state: 'cleaning', attempts: 2, last_error: null });
    await places().takenDown(second);
    expect(await at.row(placeId)).toMatchObject({ state: 'gone' });
  });

  it.each(['removed', 'absent'] as const)(
    'does not conclude from "%s" that a place is gone while it may be in the making',
    async (answer) => {
      const run = await at.claimed();
      const { id } = run.place!;
      teardown.mockResolvedValue(answer);
      await at.steps.lose(run);
      await at.sweep();
      const row = await at.row(id);
      expect(row).toMatchObject({ state: 'cleaning', attempts: 1, last_error: null });
      expect(row.next_attempt_sec! * 1000).toBeCloseTo(row.realise_deadline_at.getTime() - Date.now(), -3);
      expect(await at.isHeld(id)).toBe(true);
      await at.set(id, `realise_deadline_at = now() - interval '1 s', next_attempt_at = now() - interval '1 s'`);
      await at.sweep();
      expect(await at.row(id)).toMatchObject({ state: 'gone' });
    },
  );

  it('concludes it as soon as whoever was making it says that it does not any more', async () => {
    const run = await at.claimed();
    const { id } = run.place!;
    await at.steps.lose(run);
    await at.sweep();
    expect(await at.ready(run)).toBe(false);
    expect(await app.get(SettlePlaces).settled(id, run.lease.id)).toBe('cleaning');
    await at.sweep();
    expect(await at.row(id)).toMatchObject({ state: 'gone', attempts: 2 });
  });
});
