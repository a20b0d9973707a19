import { jest } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { DatabaseNotifications } from '../../src/database/notifications.js';
import { ExecutionServer } from '../../src/heartbeat/execution/execution.server.js';
import { Nudge } from '../../src/heartbeat/execution/nudge.js';
import { ROOM_CHANNEL, Runner, STARTS_CHANNEL } from '../../src/heartbeat/execution/runner.js';
import { LeaseRequests } from '../../src/heartbeat/reserving/lease-requests.js';
import { eventually } from '../support/eventually.js';
import { anyDriverIsLocal, Fleet } from '../support/fleet.js';
import { HeldAdapter } from '../support/held-adapter.js';
import { Callers } from '../support/reservations.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

const LONG_MS = 60_000;
const ROOM_ELSEWHERE_MS = 250;
const roles = new Set(['api', 'runner'] as const);

/** Neither process looks by itself: what starts, starts because of what was said. */
describe('room that was made in another process', () => {
  let maker: TestApp;
  let other: TestApp;
  let heldHere: HeldAdapter;
  let heldThere: HeldAdapter;
  let fleet: Fleet;
  let busy: string[];

  beforeAll(async () => {
    const since = Reflect.get(Nudge.prototype, 'since');
    jest.spyOn(Nudge.prototype, 'since').mockImplementation(function (this: Nudge, seen) {
      return since.call(this, seen, LONG_MS);
    });
    maker = await startTestApp({ config: { roles, runnerSlots: 2 } });
    heldHere = new HeldAdapter(maker);
    fleet = new Fleet(maker, await new Fleet(maker, '').user.company());
    busy = await fleet.wake(await fleet.agent(), 2);
    for (const runId of busy) await executed(heldHere, runId);
    other = await startTestApp({ config: { roles, runnerSlots: 1 }, database: maker.database });
    heldThere = new HeldAdapter(other);
    anyDriverIsLocal(maker, other);
  });
  afterAll(async () => {
    for (const held of [heldHere, heldThere]) held.letGo();
    jest.restoreAllMocks();
    await other.close();
    await maker.close();
  });

  const executed = (held: HeldAdapter, runId: string) =>
    eventually(
      async () => held.executed,
      (runs) => runs.includes(runId),
    );
  /** Waits until the first call has come, and has been answered. */
  async function firstOf(spy: { mock: { results: { value: unknown }[] } }): Promise<void> {
    await eventually(
      async () => spy.mock.results.length,
      (calls) => calls > 0,
    );
    await spy.mock.results[0].value;
  }
  async function callersOf(name: string): Promise<Callers> {
    const environmentId = await fleet.create('environments', { name, driver: 'other', capacity: 1 });
    return new Callers(maker, fleet.user.api, fleet.companyId, environmentId);
  }
  /** What is said of room that is made, once something has come of it. */
  async function saidOf(make: () => Promise<void>, outcome: () => Promise<unknown>) {
    const notify = jest.spyOn(maker.get(DatabaseNotifications), 'notify');
    await make();
    await outcome();
    const channels = notify.mock.calls.map(([channel]) => channel);
    notify.mockRestore();
    return [ROOM_CHANNEL, STARTS_CHANNEL].filter((channel) => channels.includes(channel));
  }

  it('is used at once where its maker has no slot for it', async () => {
    const callers = await callersOf('for a run');
    const lease = await callers.acquire();
    const dispatch = jest.spyOn(other.get(ExecutionServer), 'dispatch');
    const defaultEnvironmentId = callers.environmentId;
    const [runId] = await fleet.wake(await fleet.agent(1, { defaultEnvironmentId }), 1);
    await firstOf(dispatch);
    expect(heldThere.executed).toEqual([]);
    const said = await saidOf(
      () => callers.release(lease),
      () => executed(heldThere, runId),
    );
    expect(said).toEqual([STARTS_CHANNEL]);
    heldThere.succeed(runId);
    await fleet.user.ended(runId);
  });

  it('lets in a caller who waits there, although its maker looks for a run', async () => {
    const dispatch = jest.spyOn(maker.get(ExecutionServer), 'dispatch');
    heldHere.succeed(busy[0]);
    await firstOf(dispatch);
    const callers = await callersOf('for callers');
    const lease = await callers.acquire();
    const look = jest.spyOn(other.get(LeaseRequests), 'look');
    const next = await callers.queue('next', {}, new Fleet(other, '').user.api);
    await firstOf(look);
    const said = await saidOf(
      () => callers.release(lease),
      async () => expect(await next.answer).toMatchObject({ status: 201 }),
    );
    expect(said).toEqual([ROOM_CHANNEL]);
  });

  it('is left to one free slot of its maker, whatever has ended together', async () => {
    const runner = maker.get(Runner);
    // The other one is busy; this one sleeps sooner or later.
    const twiceInATurn = await eventually(
      async () => [runner.lookForStarts(), runner.lookForStarts()],
      ([first]) => first,
    );
    expect(twiceInATurn).toEqual([true, true]);
  });

  it('is looked for once in a while, however often it is said', async () => {
    const looks: number[] = [];
    const lookForStarts = Reflect.get(Runner.prototype, 'lookForStarts');
    const looking = jest.spyOn(other.get(Runner), 'lookForStarts').mockImplementation(() => {
      looks.push(performance.now());
      return lookForStarts.call(other.get(Runner));
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
});
