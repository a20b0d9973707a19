import { jest } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { DatabaseNotifications } from '../../src/database/notifications.js';
import { Nudge } from '../../src/heartbeat/execution/nudge.js';
import { ROOM_CHANNEL, Runner, STARTS_CHANNEL } from '../../src/heartbeat/execution/runner.js';
import { eventually } from '../support/eventually.js';
import { anyDriverIsLocal, Fleet } from '../support/fleet.js';
import { HeldAdapter } from '../support/held-adapter.js';
import { Callers } from '../support/reservations.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

const LONG_MS = 60_000;
const ROOM_ELSEWHERE_MS = 250;

/** Two processes with a slot each, neither of which looks by itself: what starts, starts because of what was said. */
describe('room that was made in another process', () => {
  let maker: TestApp;
  let other: TestApp;
  let held: HeldAdapter;
  let fleet: Fleet;

  beforeAll(async () => {
    const since = Reflect.get(Nudge.prototype, 'since');
    jest.spyOn(Nudge.prototype, 'since').mockImplementation(function (this: Nudge, seen) {
      return since.call(this, seen, LONG_MS);
    });
    const config = { roles: new Set(['api', 'runner'] as const), runnerSlots: 1 };
    maker = await startTestApp({ config });
    other = await startTestApp({ config, database: maker.database });
    anyDriverIsLocal(maker, other);
    held = new HeldAdapter(maker, other);
    fleet = new Fleet(maker, await new Fleet(maker, '').user.company());
  });
  afterAll(async () => {
    held.letGo();
    jest.restoreAllMocks();
    await other.close();
    await maker.close();
  });

  const look = () => jest.spyOn(other.get(Runner), 'lookForStarts');
  const executed = (runId: string) =>
    eventually(
      async () => held.executed,
      (runs) => runs.includes(runId),
    );

  async function callersOf(name: string): Promise<Callers> {
    const environmentId = await fleet.create('environments', { name, driver: 'other', capacity: 1 });
    return new Callers(maker, fleet.user.api, fleet.companyId, environmentId);
  }

  /** A run that waits for what a caller has reserved. */
  async function waiting(name: string) {
    const callers = await callersOf(name);
    const { environmentId } = callers;
    const lease = await callers.acquire();
    const [runId] = await fleet.wake(await fleet.agent(1, { defaultEnvironmentId: environmentId }), 1);
    // Whoever looks for it because it came has looked.
    await delay(500);
    return { runId, release: () => callers.release(lease) };
  }

  it('is looked for once in a while, however often it is said', async () => {
    const looks: number[] = [];
    const original = Reflect.get(Runner.prototype, 'lookForStarts');
    const looking = look().mockImplementation(() => {
      looks.push(performance.now());
      original.call(other.get(Runner));
    });
    for (let times = 0; times < 30; times++) {
      maker.get(DatabaseNotifications).notify(ROOM_CHANNEL);
      await delay(30);
    }
    const saidLast = performance.now();
    await eventually(
      async () => looks,
      () => looks.length > 1 && looks[looks.length - 1] > saidLast,
    );
    looking.mockRestore();
    // A timer may fire a millisecond early.
    const between = looks.slice(1).map((at, index) => at - looks[index]);
    expect(Math.min(...between)).toBeGreaterThanOrEqual(ROOM_ELSEWHERE_MS - 1);
  });

  it('is used there in the end, where whoever made it cannot use it', async () => {
    const looking = look().mockImplementation(() => undefined);
    const [busy] = await fleet.wake(await fleet.agent(), 1);
    await executed(busy);
    looking.mockRestore();
    const { runId, release } = await waiting('first');
    const notify = jest.spyOn(maker.get(DatabaseNotifications), 'notify');
    await release();
    await executed(runId);
    expect(notify.mock.calls.flat()).toContain(ROOM_CHANNEL);
    expect(notify.mock.calls.flat()).not.toContain(STARTS_CHANNEL);
    notify.mockRestore();
    held.succeed(runId);
    await fleet.user.ended(runId);
  });

  it('lets in a caller who waits there', async () => {
    const callers = await callersOf('for callers');
    const lease = await callers.acquire();
    const next = await callers.queue('next', {}, new Fleet(other, '').user.api);
    await delay(500);
    await callers.release(lease);
    expect(await next.answer).toMatchObject({ status: 201 });
  });

  it('is used at once where whoever made it starts nothing any more', async () => {
    const { runId, release } = await waiting('second');
    const notify = jest.spyOn(maker.get(DatabaseNotifications), 'notify');
    await maker.get(Runner).drain(AbortSignal.abort());
    await release();
    await executed(runId);
    expect(notify.mock.calls.flat()).toContain(STARTS_CHANNEL);
    expect(notify.mock.calls.flat()).not.toContain(ROOM_CHANNEL);
  });
});
