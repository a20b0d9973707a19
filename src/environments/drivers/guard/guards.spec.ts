import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Logger } from '@nestjs/common';
import { isGroupRunning } from '../../../../test/contracts/process-groups.js';
import { eventually } from '../../../../test/support/eventually.js';
import type { BerthConfig } from '../../../config/config.js';
import { newId } from '../../../database/id.js';
import { bootClock } from './boot-clock.js';
import type { GuardedChild } from './guarded-child.js';
import { Guards } from './guards.js';
import { Predecessors } from './predecessors.js';
import { LEASE_VARIABLE } from './process-table.js';
import type { ProcessGuard } from './process-guard.js';
import { journalsIn } from './runner-journal.js';

describe(Guards.name, () => {
  let home: string;
  let guards: Guards;

  beforeAll(() => Logger.overrideLogger(false));
  beforeEach(async () => (home = await mkdtemp(join(tmpdir(), 'berth-guards-'))));
  afterEach(async () => {
    await guards.stop();
    await rm(home, { recursive: true, force: true });
  });

  async function start(runnerSlots: number): Promise<void> {
    const config = { home, runnerSlots } as BerthConfig;
    guards = new Guards(config, new Predecessors(config));
    await guards.start('runner-1');
  }
  const journals = async () =>
    (await readdir(journalsIn(home)).catch(() => [])).filter((name) => name.endsWith('.json')).sort();
  /** How many guards there are, once each has its journal. */
  const expectGuards = async (count: number) => {
    const names = Array.from({ length: count }, (_, index) =>
      index > 0 ? `runner-1.${index + 1}.json` : 'runner-1.json',
    ).sort();
    expect(await eventually(journals, (found) => found.length >= count)).toEqual(names);
  };
  async function run(guard: ProcessGuard, lastsMs: number): Promise<GuardedChild> {
    await guard.ready();
    const leaseId = newId();
    const env = { PATH: process.env.PATH ?? '', [LEASE_VARIABLE]: leaseId };
    const deadline = bootClock() + lastsMs;
    const child = guard.run({ leaseId, deadline, program: 'sleep', args: ['600'], cwd: '/', env });
    await child.started;
    return child;
  }

  it('are one where there are few slots', async () => {
    await start(64);
    await expectGuards(1);
    expect(guards.next()).toBe(guards.next());
  });

  it('are no more than can work at the same time', async () => {
    await start(100_000);
    await expectGuards(availableParallelism());
  });

  it('take turns in starting, hear of every renewal, and go together', async () => {
    await start(128);
    await expectGuards(2);
    const [one, other] = [guards.next(), guards.next()];
    expect(one).not.toBe(other);
    expect(guards.next()).toBe(one);
    const children = await Promise.all([one, other].map((guard) => run(guard, 700)));
    const soon = Math.min(...children.map(({ hold }) => hold.deadline));
    guards.extend(new Map(children.map(({ hold }) => [hold.leaseId, soon + 60_000])));
    await eventually(
      () => Promise.resolve(bootClock()),
      (now) => now > soon + 500,
    );
    expect(children.map(({ hold }) => isGroupRunning(hold.groupId!))).toEqual([true, true]);
    await guards.stop();
    expect(children.map(({ hold }) => isGroupRunning(hold.groupId!))).toEqual([false, false]);
    expect(await journals()).toEqual([]);
  });
});
