import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { newId } from '../../../database/id.js';
import { eventually } from '../../../../test/support/eventually.js';
import { isGroupRunning } from '../../../../test/contracts/process-groups.js';
import { bootClock } from './boot-clock.js';
import { LineReader } from './line-reader.js';
import type { GuardMessage, GuardReport, StartMessage } from './messages.js';
import { OutputListener } from './output-listener.js';
import { statOf } from './process-table.js';
import { outputsOf, parseJournal, type HeldGroup, type RunnerJournal } from './runner-journal.js';

const PROGRAM = join(import.meta.dirname, 'guard-program.ts');
const HOUR_MS = 3_600_000;
/** Nothing but their end ends them. */
const LASTING = `trap '' TERM INT HUP; sleep 600 & sleep 600`;

type Report<T extends GuardReport['type']> = Extract<GuardReport, { type: T }>;

describe('the guard program', () => {
  let home: string;
  let journal: string;
  let outputs: OutputListener;
  let guard: ChildProcess;
  let reports: GuardReport[];
  let said: string;

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'berth-guard-'));
    journal = join(home, 'runners', 'runner-1.json');
    outputs = await OutputListener.open(outputsOf(journal));
    startGuard();
    // It is up, for the tests look at times, and holds nothing, for they look at what it has noted.
    expect(await reported('exited', await begin('exit 0'))).toMatchObject({ groupHasEnded: true });
  });
  afterEach(async () => {
    for (const report of reports) {
      if (report.type === 'started' && isGroupRunning(report.groupId)) process.kill(-report.groupId, 'SIGKILL');
    }
    guard.kill('SIGKILL');
    outputs.close();
    await rm(home, { recursive: true });
  });

  function startGuard(): void {
    reports = [];
    said = '';
    const options = { stdio: ['pipe', 'ignore', 'pipe', 'pipe'] } as const;
    guard = spawn(process.execPath, [PROGRAM, '4711', '99', journal, outputs.path], options as object);
    guard.stderr!.on('data', (text) => (said += text));
    const lines = new LineReader();
    (guard.stdio[3] as Readable).setEncoding('utf8').on('data', (text: string) => {
      for (const line of lines.take(text)) reports.push(JSON.parse(line) as GuardReport);
    });
  }

  const tell = (message: GuardMessage) => guard.stdin!.write(`${JSON.stringify(message)}\n`);

  function ask(script: string, changes: Partial<StartMessage> = {}): StartMessage {
    const message: StartMessage = {
      type: 'start',
      id: crypto.randomUUID(),
      leaseId: newId(),
      deadline: bootClock() + HOUR_MS,
      program: 'sh',
      args: ['-c', script],
      cwd: home,
      env: { PATH: process.env.PATH ?? '' },
      ...changes,
    };
    outputs.expect(message.id, (_name, stream) => stream.resume().on('end', () => stream.destroy()));
    tell(message);
    return message;
  }

  const reported = <T extends GuardReport['type']>(type: T, { id }: { id: string }) =>
    eventually(
      async () => reports.find((report) => report.type === type && 'id' in report && report.id === id) as Report<T>,
      (report) => report !== undefined,
    );

  async function begin(script: string, changes: Partial<StartMessage> = {}) {
    const message = ask(script, changes);
    return { ...message, ...(await reported('started', message)) };
  }

  const gone = ({ groupId }: { groupId: number }, withinMs = 5_000) =>
    eventually(
      async () => isGroupRunning(groupId),
      (running) => !running,
      withinMs,
    );

  const journalled = (fits: (journal: RunnerJournal) => boolean) =>
    eventually(async () => parseJournal(await readFile(journal, 'utf8').catch(() => '{"groups":[]}\n')), fits);

  it('tells who a command became, and how it ended', async () => {
    const one = await begin('exit 3');
    expect(one.startTime).toMatch(/^\d+$/);
    expect(await reported('exited', one)).toMatchObject({ exitCode: 3, signal: null, groupHasEnded: true });
    const other = await begin('kill -9 $$');
    expect(await reported('exited', other)).toMatchObject({ exitCode: null, signal: 'SIGKILL', groupHasEnded: true });
    expect(reports.filter((report) => report.type === 'exited' && report.id === one.id)).toHaveLength(1);
  });

  it('collects its children', async () => {
    const ended = await begin('exit 0');
    await reported('exited', ended);
    expect(statOf(ended.groupId)).toBeNull();
  });

  it('says why a command could not be started', async () => {
    const missing = ask('', { program: 'there-is-no-such-program' });
    expect(await reported('failed', missing)).toMatchObject({ code: 'ENOENT' });
    const tooLarge = ask('', { args: ['x'.repeat(2_000_000)] });
    expect(await reported('failed', tooLarge)).toMatchObject({ code: 'E2BIG' });
    await journalled(({ groups }) => groups.length === 0);
  });

  it('starts nothing whose output nobody receives', async () => {
    const mark = join(home, 'mark');
    outputs.close();
    const message = ask(`touch ${mark}`);
    expect(await reported('failed', message)).toMatchObject({
      code: null,
      message: expect.stringContaining('its output cannot be received'),
    });
    expect(existsSync(mark)).toBe(false);
  });

  it('ends a whole group at the deadline of its lease, and not before', async () => {
    const deadline = bootClock() + 700;
    const group = await begin(LASTING, { deadline });
    expect(isGroupRunning(group.groupId)).toBe(true);
    await gone(group);
    expect(bootClock() - deadline).toBeGreaterThanOrEqual(0);
    expect(bootClock() - deadline).toBeLessThan(1000);
    expect(await reported('exited', group)).toMatchObject({ signal: 'SIGKILL' });
    await journalled(({ groups }) => groups.length === 0);
  });

  it('starts nothing past the deadline', async () => {
    const mark = join(home, 'mark');
    const late = ask(`touch ${mark}`, { deadline: bootClock() });
    expect(await reported('failed', late)).toMatchObject({ message: 'its lease has run out' });
    expect(existsSync(mark)).toBe(false);
  });

  it('waits as long as the lease is renewed, also for what it has not started yet', async () => {
    const leaseId = newId();
    const deadline = bootClock() + 500;
    const message = ask(LASTING, { leaseId, deadline });
    tell({ type: 'extend', leaseId, deadline: deadline + 1000 });
    // One that was overtaken by another shortens nothing.
    tell({ type: 'extend', leaseId, deadline: deadline + 100 });
    tell({ type: 'extend', leaseId: newId(), deadline: deadline + 60_000 });
    await gone(await reported('started', message));
    expect(bootClock() - deadline).toBeGreaterThanOrEqual(1000);
  });

  it('holds what a leader leaves in its group, until that is released', async () => {
    const [released, held] = [
      await begin('sleep 600 & exit 0', { deadline: bootClock() + 900 }),
      await begin('sleep 600 & exit 0', { deadline: bootClock() + 1000 }),
    ];
    expect(await reported('exited', released)).toMatchObject({ exitCode: 0, groupHasEnded: false });
    tell({ type: 'release', id: released.id });
    await gone(held);
    expect(isGroupRunning(released.groupId)).toBe(true);
  });

  it('ends everything at once when its runner is gone, and itself, and starts nothing more', async () => {
    const mark = join(home, 'mark');
    const [one, other] = [await begin(LASTING), await begin('sleep 600 & exit 0')];
    await reported('exited', other);
    // Read before the end is seen or together with that: started and ended, or not started.
    ask(`sleep 0.5; touch ${mark}`);
    guard.stdin!.end();
    await once(guard, 'exit');
    await Promise.all([gone(one, 1000), gone(other, 1000)]);
    await delay(700);
    expect(existsSync(mark)).toBe(false);
    expect(existsSync(journal)).toBe(false);
    expect(existsSync(dirname(outputs.path))).toBe(false);
  });

  it('is not ended by what asks its runner to end', async () => {
    const group = await begin(LASTING, { deadline: bootClock() + 1000 });
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) guard.kill(signal);
    await gone(group);
    expect(guard.exitCode ?? guard.signalCode).toBeNull();
  });

  it('writes down what it holds, and before that what it is about to start', async () => {
    const message = await begin('exec sleep 600');
    const { leaseId, groupId, startTime } = message;
    const owner = {
      bootId: (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim(),
      runner: { pid: 4711, startTime: '99' },
      guardPid: guard.pid,
    };
    expect(await journalled(({ groups }) => groups.some((group) => group.groupId !== null))).toEqual({
      ...owner,
      groups: [{ leaseId, groupId, startTime }],
    });
    const lines = (await readFile(journal, 'utf8')).trimEnd().split('\n').slice(-2);
    expect(lines.map((line) => (JSON.parse(line) as { held: HeldGroup }).held)).toEqual([
      { leaseId, groupId: null, startTime: null },
      { leaseId, groupId, startTime },
    ]);
    process.kill(-groupId, 'SIGKILL');
    await journalled(({ groups }) => groups.length === 0);
  });

  it('goes on where it cannot write', async () => {
    guard.kill('SIGKILL');
    journal = '/dev/null/runner-1.json';
    startGuard();
    await gone(await begin(LASTING, { deadline: bootClock() + 700 }));
    await eventually(
      async () => said,
      (text) => text.includes('The journal /dev/null/runner-1.json could not be written:'),
    );
  });
});
