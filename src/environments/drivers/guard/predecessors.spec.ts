import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Logger } from '@nestjs/common';
import { eventually } from '../../../../test/support/eventually.js';
import { GuardedGroup } from '../../../../test/support/guarded-group.js';
import { newId } from '../../../database/id.js';
import type { BerthConfig } from '../../../config/config.js';
import { Predecessors } from './predecessors.js';
import { bootId, hasEnded, statOf } from './process-table.js';
import { JournalWriter, journalsIn, outputsOf, type HeldGroup, type RunnerJournal } from './runner-journal.js';

describe(Predecessors.name, () => {
  let home: string;
  let group: GuardedGroup;
  let more: GuardedGroup | undefined;

  beforeAll(() => Logger.overrideLogger(false));
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'berth-predecessors-'));
    group = await GuardedGroup.start(newId());
  });
  afterEach(async () => {
    group.kill();
    more?.kill();
    more = undefined;
    await rm(home, { recursive: true });
  });

  const file = () => join(journalsIn(home), 'runner-1.json');
  const start = () => new Predecessors({ home } as BerthConfig).endWhatTheyLeft();
  const held = ({ id, leaseId, startTime }: GuardedGroup): HeldGroup => ({ leaseId, groupId: id, startTime });

  /** By default of a runner whose pid has gone to another process: that of this test. */
  function left(changes: Partial<RunnerJournal>): void {
    const runner = { pid: process.pid, startTime: '1' };
    const { groups, ...owner } = { bootId: bootId(), runner, guardPid: 1, groups: [held(group)], ...changes };
    const entries = groups.map((entry, index) => [String(index), entry] as const);
    new JournalWriter(file(), owner, new Map(entries)).begin();
  }

  it('have what they left ended, and their journal removed', async () => {
    left({});
    mkdirSync(dirname(outputsOf(file())));
    await start();
    expect(group.isRunning).toBe(false);
    expect(await readdir(journalsIn(home))).toEqual([]);
  });

  it('have nothing ended that only has the pid of what they left', async () => {
    left({ groups: [{ ...held(group), startTime: '1' }] });
    await start();
    expect(group.isRunning).toBe(true);
    expect(existsSync(file())).toBe(false);
  });

  it('have nothing ended after the machine has started again', async () => {
    left({ bootId: 'another start' });
    await start();
    expect(group.isRunning).toBe(true);
    expect(existsSync(file())).toBe(false);
  });

  it('are left alone while they run', async () => {
    left({ runner: { pid: process.pid, startTime: statOf(process.pid)!.startTime } });
    await start();
    expect(group.isRunning).toBe(true);
    expect(existsSync(file())).toBe(true);
  });

  it('count as dead also while nobody has collected them', async () => {
    const parent = spawn('sh', ['-c', 'sleep 0.3 & echo $!; exec sleep 600'], { stdio: ['ignore', 'pipe', 'ignore'] });
    const [output] = (await once(parent.stdout, 'data')) as [Buffer];
    const pid = Number(output);
    const { startTime } = statOf(pid)!;
    await eventually(async () => statOf(pid)!, hasEnded);
    left({ runner: { pid, startTime } });
    await start();
    parent.kill();
    expect(group.isRunning).toBe(false);
  });

  it('have that ended, too, of which they could not say what it became', async () => {
    more = await GuardedGroup.start(`${group.leaseId}1`);
    left({ groups: [{ ...held(group), groupId: null, startTime: null }] });
    await start();
    expect(group.isRunning).toBe(false);
    expect(more.isRunning).toBe(true);
  });

  it('have a group ended whose leader has left it, if it carries the lease', async () => {
    more = await GuardedGroup.leaderless(newId());
    left({ groups: [held(more)] });
    await start();
    expect(more.isRunning).toBe(false);
  });

  it('have no such group ended that carries another', async () => {
    more = await GuardedGroup.leaderless(newId());
    left({ groups: [{ ...held(more), leaseId: newId() }] });
    await start();
    expect(more.isRunning).toBe(true);
  });

  it('do not hold anybody back by a journal that cannot be read', async () => {
    left({});
    const broken = join(journalsIn(home), 'runner-0.json');
    await writeFile(broken, '{"groups": [');
    await start();
    expect(existsSync(broken)).toBe(false);
    expect(group.isRunning).toBe(false);
  });

  it('need not have been there', async () => {
    await start();
    expect(group.isRunning).toBe(true);
  });
});
