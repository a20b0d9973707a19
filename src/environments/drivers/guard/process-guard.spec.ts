import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Logger } from '@nestjs/common';
import { eventually } from '../../../../test/support/eventually.js';
import { GuardedGroup } from '../../../../test/support/guarded-group.js';
import { isAlive } from '../../../../test/support/hand-runner.js';
import { newId } from '../../../database/id.js';
import type { BerthConfig } from '../../../config/config.js';
import { bootClock } from './boot-clock.js';
import { Predecessors } from './predecessors.js';
import { ProcessGuard } from './process-guard.js';
import { journalsIn, type RunnerJournal } from './runner-journal.js';

const HOUR_MS = 3_600_000;

describe(ProcessGuard.name, () => {
  let home: string;
  let guard: ProcessGuard;
  let group: GuardedGroup;

  beforeAll(() => Logger.overrideLogger(false));
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'berth-guard-'));
    const config = { home } as BerthConfig;
    guard = new ProcessGuard(config, new Predecessors(config));
    group = await GuardedGroup.start(newId());
  });
  afterEach(async () => {
    await guard.stop();
    group.kill();
    await rm(home, { recursive: true });
  });

  const file = () => join(journalsIn(home), 'runner-1.json');
  const journal = (fits: (journal: RunnerJournal) => boolean) =>
    eventually(
      async () => JSON.parse(await readFile(file(), 'utf8').catch(() => '{"groups":[]}')) as RunnerJournal,
      fits,
    );
  const holds = ({ groups }: RunnerJournal) => groups.some(({ groupId }) => groupId === group.id);

  it('ends at its deadline what was held before it was up', async () => {
    void guard.start('runner-1');
    guard.hold(group.leaseId, bootClock() + 300).started(group.id);
    await group.gone();
  });

  it('keeps to the last renewal, also for a child that is just being started', async () => {
    await guard.start('runner-1');
    const deadline = bootClock() + 500;
    const child = guard.hold(group.leaseId, deadline);
    guard.extend(group.leaseId, deadline + 500);
    guard.extend(newId(), deadline + 60_000);
    child.started(group.id);
    await group.gone();
    expect(bootClock() - deadline).toBeGreaterThanOrEqual(500);
  });

  it('is replaced when it ends, and its successor holds the same', async () => {
    await guard.start('runner-1');
    guard.hold(group.leaseId, bootClock() + HOUR_MS).started(group.id);
    const { guardPid } = await journal(holds);
    process.kill(guardPid, 'SIGKILL');
    await journal((now) => now.guardPid !== guardPid && holds(now));
    guard.extend(group.leaseId, bootClock() + 2 * HOUR_MS);
    expect(group.isRunning).toBe(true);
    // Its pipe is closed.
    await guard.stop();
    await group.gone();
  });

  it('leaves no process and no journal when it is stopped', async () => {
    await guard.start('runner-1');
    const child = guard.hold(group.leaseId, bootClock() + HOUR_MS);
    child.started(group.id);
    const { guardPid } = await journal(holds);
    child.release();
    await guard.stop();
    expect(isAlive(guardPid)).toBe(false);
    expect(existsSync(file())).toBe(false);
    expect(group.isRunning).toBe(true);
  });

  it('is stopped also when it has just ended', async () => {
    await guard.start('runner-1');
    const { guardPid } = await journal(({ guardPid: pid }) => pid !== undefined);
    process.kill(guardPid, 'SIGKILL');
    await guard.stop();
    expect(existsSync(file())).toBe(false);
  });
});
