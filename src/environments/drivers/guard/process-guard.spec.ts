import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Logger } from '@nestjs/common';
import { isGroupRunning } from '../../../../test/contracts/process-groups.js';
import { eventually } from '../../../../test/support/eventually.js';
import { isAlive } from '../../../../test/support/hand-runner.js';
import { processGuard } from '../../../../test/support/local-driver.js';
import { newId } from '../../../database/id.js';
import { ProcessLostError } from '../driver-errors.js';
import { bootClock } from './boot-clock.js';
import type { GuardedChild } from './guarded-child.js';
import { ProcessGuard, type GuardedCommand } from './process-guard.js';
import { groupsOfLease, LEASE_VARIABLE } from './process-table.js';
import { journalsIn, outputsOf, parseJournal } from './runner-journal.js';

const HOUR_MS = 3_600_000;
const LASTING = `trap '' TERM INT HUP; sleep 600 & sleep 600`;

describe(ProcessGuard.name, () => {
  let home: string;
  let guard: ProcessGuard;
  let children: GuardedChild[];

  beforeAll(() => Logger.overrideLogger(false));
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'berth-guard-'));
    guard = processGuard(home);
    children = [];
    await guard.start();
  });
  afterEach(async () => {
    await guard.stop();
    for (const { hold } of children) {
      if (hold.groupId !== null && isGroupRunning(hold.groupId)) process.kill(-hold.groupId, 'SIGKILL');
    }
    await rm(home, { recursive: true, force: true });
  });

  async function run(script: string, changes: Partial<GuardedCommand> = {}): Promise<GuardedChild> {
    const leaseId = changes.leaseId ?? newId();
    await guard.ready();
    const child = guard.run({
      leaseId,
      deadline: bootClock() + HOUR_MS,
      program: 'sh',
      args: ['-c', script],
      cwd: '/',
      env: { PATH: process.env.PATH ?? '', [LEASE_VARIABLE]: leaseId },
      ...changes,
    });
    children.push(child);
    return child;
  }

  const file = () => join(journalsIn(home), 'runner-1.json');
  const guardPid = async () =>
    (
      await eventually(
        async () => parseJournal(await readFile(file(), 'utf8').catch(() => '{}\n')),
        (journal) => journal.guardPid !== undefined,
      )
    ).guardPid;
  const gone = ({ hold }: GuardedChild) =>
    eventually(
      async () => isGroupRunning(hold.groupId!),
      (running) => !running,
    );
  /** A guard is up and starts things. */
  const expectService = async () => expect((await (await run('exit 7')).exited).exitCode).toBe(7);

  it('starts as many as it is told while its runner is too busy to take their output', async () => {
    await expectService();
    const told = await Promise.all(
      Array.from({ length: 300 }, () => run('', { program: '/bin/true', args: [], env: {} })),
    );
    // A runner that is held up, by its own work or by the system.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000);
    await Promise.all(told.map(({ started }) => started));
    const exits = await Promise.all(told.map(({ exited, outputs }) => outputs.then(() => exited)));
    expect(exits.filter(({ exitCode }) => exitCode === 0)).toHaveLength(told.length);
  });

  it('ends at the last renewal what was asked for before it was up', async () => {
    const deadline = bootClock() + 700;
    const child = await run(LASTING, { deadline });
    guard.extend(
      new Map([
        [newId(), deadline + 60_000],
        [child.hold.leaseId, deadline + 500],
      ]),
    );
    await child.started;
    await gone(child);
    expect(bootClock() - deadline).toBeGreaterThanOrEqual(500);
  });

  it('is replaced when it ends; what it had started ends at once, and nobody claims to know how', async () => {
    const [one, two] = await Promise.all([run(LASTING), run('sleep 600 & exit 0')]);
    await Promise.all([one.started, two.exited]);
    const pid = await guardPid();
    process.kill(pid, 'SIGKILL');
    await expect(one.exited).rejects.toThrow(ProcessLostError);
    expect([one, two].map(({ hold }) => isGroupRunning(hold.groupId!))).toEqual([false, false]);
    await expectService();
    expect(await guardPid()).not.toBe(pid);
  });

  it('leaves nothing running of what it was asked for when it ended', async () => {
    await expectService();
    const leaseId = newId();
    const asked = await Promise.all(Array.from({ length: 5 }, () => run(LASTING, { leaseId })));
    await asked[1].started;
    process.kill(await guardPid(), 'SIGKILL');
    const ends = await Promise.allSettled(asked.map(({ exited }) => exited));
    expect(ends.map((end) => end.status === 'rejected' && end.reason)).toEqual(
      Array(5).fill(expect.any(ProcessLostError)),
    );
    expect(groupsOfLease(leaseId)).toEqual([]);
  });

  it('leaves no process, no journal and no socket when it is stopped', async () => {
    await expectService();
    const pid = await guardPid();
    await guard.stop();
    expect(isAlive(pid)).toBe(false);
    expect(existsSync(file())).toBe(false);
    expect(existsSync(dirname(outputsOf(file())))).toBe(false);
  });

  it('is stopped also when it has just ended', async () => {
    process.kill(await guardPid(), 'SIGKILL');
    await guard.stop();
    expect(existsSync(file())).toBe(false);
  });

  it('lets nobody else in where the output of its children arrives', async () => {
    const path = outputsOf(file());
    expect((await stat(dirname(path))).mode & 0o777).toBe(0o700);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    for (const header of ['', 'hello\n', `${crypto.randomUUID()} stdout\n`]) {
      const stranger = connect(path);
      stranger.end(header).resume();
      await once(stranger, 'close');
    }
    const child = await run('exec sleep 600');
    const { stdout } = await child.outputs;
    const late = connect(path);
    late.end(`${child.id} stdout\nforged`).resume();
    await once(late, 'close');
    expect(stdout.readableLength).toBe(0);
  });

  it('is no worse off in a home whose path is too long for a socket', async () => {
    await guard.stop();
    home = join(home, 'x'.repeat(120));
    guard = processGuard(home);
    await guard.start();
    await expectService();
  });
});
