import { jest } from '@jest/globals';
import { ProvisionService } from '../../src/heartbeat/claiming/provision.service.js';
import { anyDriverIsLocal, Fleet } from '../support/fleet.js';
import { Scenario } from '../support/scenario.js';
import { countSent } from '../support/sent-counts.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

const RUNS = 6;
/** What was seen counts for no longer than this, in milliseconds. */
const FRESH_MS = 50;

describe('a look for runs that may start', () => {
  let apps: [TestApp, TestApp];
  let fleet: Fleet;
  let woken: string[];

  beforeAll(async () => {
    const first = await startStillApp();
    apps = [first, await startStillApp({ database: first.database })];
  });
  afterAll(async () => {
    await apps[1].close();
    await apps[0].close();
  });
  let now: number;
  beforeEach(async () => {
    now = performance.now();
    jest.spyOn(performance, 'now').mockImplementation(() => now);
    anyDriverIsLocal(...apps);
    fleet = new Fleet(apps[0], await new Scenario(apps[0].url).company());
    // The company's first run makes its environment.
    await fleet.wake(await fleet.agent(), 1);
    await start();
    woken = [];
    for (let n = 0; n < RUNS; n++) woken.push(...(await fleet.wake(await fleet.agent(), 1)));
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    await apps[0].database.query(`update heartbeat_runs set due_at = 'infinity' where status = 'queued'`);
  });

  const start = async (app = apps[0]) => (await app.get(ProvisionService).provision())?.id;
  const looksOf = async (work: () => Promise<unknown>) => {
    let looks = 0;
    await countSent(work, (text) => void (looks += Number(text.startsWith('with recursive waiting'))));
    return looks;
  };

  it('serves the slots that come free right after it, in the order that it found', async () => {
    const started: (string | undefined)[] = [];
    const work = async () => {
      for (const _ of woken) started.push(await start());
    };
    expect(await looksOf(work)).toBe(1);
    expect(started).toEqual(woken);
  });

  it('does not for long', async () => {
    await start();
    now += FRESH_MS - 1;
    expect(await looksOf(start)).toBe(0);
    now += 1;
    expect(await looksOf(start)).toBe(1);
  });

  it('does not once something new waits, which may matter more', async () => {
    await start();
    const urgent = await fleet.wakeFor(await fleet.agent(), { priority: 'critical' });
    expect(await start()).toBe(urgent);
  });

  it('does no further than others who have more would come in between', async () => {
    const other = new Fleet(apps[0], await fleet.user.company());
    const rest = await other.wake(await other.agent(), 2);
    const started: (string | undefined)[] = [];
    for (let n = 0; n < 4; n++) started.push(await start());
    expect(started).toEqual([rest[0], woken[0], rest[1], woken[1]]);
  });

  it('does not where others have started what it found', async () => {
    expect(await start()).toBe(woken[0]);
    for (const id of woken.slice(1, 3)) expect(await start(apps[1])).toBe(id);
    expect(await start()).toBe(woken[3]);
  });
});
