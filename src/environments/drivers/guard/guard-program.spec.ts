import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newId } from '../../../database/id.js';
import { eventually } from '../../../../test/support/eventually.js';
import { GuardedGroup } from '../../../../test/support/guarded-group.js';
import { bootClock } from './boot-clock.js';
import type { GuardMessage, Hold } from './guard-program.js';
import type { RunnerJournal } from './runner-journal.js';

const PROGRAM = join(import.meta.dirname, 'guard-program.ts');
const HOUR_MS = 3_600_000;

describe('the guard program', () => {
  let home: string;
  let journal: string;
  let guard: ChildProcess;
  const groups: GuardedGroup[] = [];

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'berth-guard-'));
    journal = join(home, 'runners', 'runner-1.json');
    startGuard();
  });
  afterEach(async () => {
    for (const group of groups.splice(0)) group.kill();
    guard.kill('SIGKILL');
    await rm(home, { recursive: true });
  });

  function startGuard(): void {
    guard = spawn(process.execPath, [PROGRAM, '4711', '99', journal], { stdio: ['pipe', 'ignore', 'pipe'] });
  }

  const tell = (message: GuardMessage) => guard.stdin!.write(`${JSON.stringify(message)}\n`);

  /** The lease is any by default; nobody else may use it, because processes are looked for by it. */
  const startGroup = async (leaseId: string = newId()) => keep(await GuardedGroup.start(leaseId));

  function keep(group: GuardedGroup): GuardedGroup {
    groups.push(group);
    return group;
  }

  function hold(group: GuardedGroup, inMs: number, changes: Partial<Hold> = {}): Hold {
    const { id: groupId, leaseId, startTime } = group;
    const held = { id: groupId, leaseId, groupId, startTime, deadline: bootClock() + inMs, ...changes };
    tell({ type: 'hold', hold: held });
    return held;
  }

  const journalled = (fits: (journal: RunnerJournal) => boolean) =>
    eventually(async () => JSON.parse(await readFile(journal, 'utf8').catch(() => '{"groups":[]}')), fits);

  /** Everything told so far has been taken in. */
  async function listened(): Promise<void> {
    tell({
      type: 'hold',
      hold: { id: 0, leaseId: 'last', groupId: null, startTime: null, deadline: bootClock() + HOUR_MS },
    });
    await journalled(({ groups: all }) => all.some(({ leaseId }) => leaseId === 'last'));
  }

  it('ends a whole group at the deadline of its lease, and not before', async () => {
    const group = await startGroup();
    hold(group, HOUR_MS);
    await listened();
    const { deadline } = hold(group, 500);
    await group.gone();
    expect(bootClock() - deadline).toBeGreaterThanOrEqual(0);
    expect(bootClock() - deadline).toBeLessThan(1000);
    await journalled(({ groups: all }) => all.every(({ leaseId }) => leaseId !== group.leaseId));
  });

  it('waits as long as the lease is renewed', async () => {
    const group = await startGroup();
    await listened();
    const { deadline } = hold(group, 500);
    tell({ type: 'extend', leaseId: group.leaseId, deadline: deadline + 1000 });
    // One that was overtaken by another shortens nothing.
    tell({ type: 'extend', leaseId: group.leaseId, deadline: deadline + 100 });
    await group.gone();
    expect(bootClock() - deadline).toBeGreaterThanOrEqual(1000);
  });

  it('leaves alone what has been released', async () => {
    const [released, held] = [await startGroup(), await startGroup()];
    tell({ type: 'release', id: hold(released, 500).id });
    hold(held, 600);
    await held.gone();
    expect(released.isRunning).toBe(true);
  });

  it('leaves alone whoever has got the pid since', async () => {
    const [other, held] = [await startGroup(), await startGroup()];
    hold(other, 500, { startTime: String(Number(other.startTime) - 1) });
    hold(held, 600);
    await held.gone();
    expect(other.isRunning).toBe(true);
    guard.stdin!.end();
    await once(guard, 'exit');
    expect(other.isRunning).toBe(true);
  });

  it('ends a group whose leader has left it', async () => {
    const group = keep(await GuardedGroup.leaderless(newId()));
    hold(group, 300);
    await group.gone();
  });

  it('finds what was started for a lease although nobody said what it became', async () => {
    const group = await startGroup();
    const other = await startGroup(`${group.leaseId}1`);
    hold(group, 300, { groupId: null, startTime: null });
    await group.gone();
    expect(other.isRunning).toBe(true);
  });

  it('ends at once what is started after the deadline', async () => {
    const intent = { id: 1, leaseId: newId(), groupId: null, startTime: null, deadline: bootClock() };
    tell({ type: 'hold', hold: intent });
    await listened();
    const group = await startGroup(intent.leaseId);
    hold(group, HOUR_MS, { id: 1 });
    await group.gone();
  });

  it('ends everything at once when its runner is gone, and itself', async () => {
    const [known, unknown] = [await startGroup(), await startGroup()];
    hold(known, HOUR_MS);
    hold(unknown, HOUR_MS, { groupId: null, startTime: null });
    guard.stdin!.end();
    await once(guard, 'exit');
    await Promise.all([known.gone(1000), unknown.gone(1000)]);
    expect(existsSync(journal)).toBe(false);
  });

  it('is not ended by what asks its runner to end', async () => {
    const group = await startGroup();
    hold(group, 1000);
    await listened();
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) guard.kill(signal);
    await group.gone();
    expect(guard.exitCode ?? guard.signalCode).toBeNull();
  });

  it('writes down what it holds', async () => {
    const group = await startGroup();
    const { id } = hold(group, HOUR_MS);
    const { leaseId, startTime } = group;
    expect(await journalled(({ groups: all }) => all.length === 1)).toEqual({
      bootId: (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim(),
      runner: { pid: 4711, startTime: '99' },
      guardPid: guard.pid,
      groups: [{ leaseId, groupId: group.id, startTime }],
    });
    tell({ type: 'release', id });
    await journalled(({ groups: all }) => all.length === 0);
  });

  it('goes on where it cannot write', async () => {
    guard.kill('SIGKILL');
    journal = '/dev/null/runner-1.json';
    startGuard();
    let said = '';
    guard.stderr!.on('data', (text) => (said += text));
    const group = await startGroup();
    hold(group, 300);
    await group.gone();
    await eventually(
      async () => said,
      (text) => text.includes('The journal /dev/null/runner-1.json could not be written:'),
    );
  });
});
