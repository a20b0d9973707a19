import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { newId } from '../../src/database/id.js';
import { ProcessLostError } from '../../src/environments/drivers/driver-errors.js';
import { bootClock } from '../../src/environments/drivers/guard/boot-clock.js';
import type { ProcessGuard } from '../../src/environments/drivers/guard/process-guard.js';
import { groupsOfLease, LEASE_VARIABLE } from '../../src/environments/drivers/guard/process-table.js';
import { journalsIn, parseJournal } from '../../src/environments/drivers/guard/runner-journal.js';
import { runCommand } from '../../src/environments/drivers/run-command.js';
import { isGroupRunning } from '../contracts/process-groups.js';
import { eventually } from '../support/eventually.js';
import { processGuard } from '../support/local-driver.js';
import { PROJECT } from '../support/server-process.js';

const MEBIBYTE = 1024 * 1024;

describe('what a guard has started', () => {
  let home: string;
  let guard: ProcessGuard;

  beforeAll(() => Logger.overrideLogger(false));
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'berth-children-'));
    guard = processGuard(home);
    await guard.start();
  });
  afterEach(async () => {
    await guard.stop();
    await rm(home, { recursive: true, force: true });
  });

  const never = new AbortController().signal;

  function run(
    script: string,
    { onOutput = () => undefined, signal = never, onSpawn }: Partial<Parameters<typeof runCommand>[1]> = {},
    leaseId = newId(),
  ) {
    const env = { PATH: process.env.PATH ?? '', [LEASE_VARIABLE]: leaseId };
    const lease = { id: leaseId, deadline: bootClock() + 3_600_000 };
    const options = { lease, env, cwd: null, graceMs: 5000, signal, onOutput, onSpawn };
    return runCommand(home, { program: 'sh', args: ['-c', script], ...options }, guard);
  }

  it('can be hundreds at once, which all end when they shall', async () => {
    const stop = new AbortController();
    const groups: number[] = [];
    const runs = Array.from({ length: 500 }, () =>
      run('exec sleep 600', { signal: stop.signal, onSpawn: ({ processGroupId }) => groups.push(processGroupId) }),
    );
    await eventually(
      async () => groups.length,
      (count) => count === 500,
      30_000,
    );
    expect(new Set(groups).size).toBe(500);
    stop.abort();
    expect(await Promise.all(runs)).toEqual(Array(500).fill({ exitCode: null, signal: 'SIGTERM' }));
    expect(groups.filter((id) => isGroupRunning(id))).toEqual([]);
  }, 60_000);

  it('has all of its output delivered, whole and in order', async () => {
    const all = randomBytes(MEBIBYTE);
    await writeFile(join(home, 'all'), all);
    const outputs = await Promise.all(
      Array.from({ length: 200 }, async (_, child) => {
        let taken = 0;
        let errors = '';
        const { exitCode } = await run(`cat all; echo the end of ${child} >&2`, {
          onOutput: (stream, chunk) => {
            if (stream === 'stderr') errors += chunk.toString();
            else if (all.subarray(taken, taken + chunk.length).equals(chunk)) taken += chunk.length;
          },
        });
        return { exitCode, taken, errors };
      }),
    );
    expect(outputs).toEqual(
      outputs.map((_, child) => ({ exitCode: 0, taken: MEBIBYTE, errors: `the end of ${child}\n` })),
    );
  }, 60_000);

  it('is lost, ended and started anew when the guard is frozen', async () => {
    const leaseId = newId();
    const spawned = Promise.withResolvers<void>();
    const running = run('sleep 600', { onSpawn: () => spawned.resolve() }, leaseId);
    await spawned.promise;
    const journal = parseJournal(await readFile(join(journalsIn(home), 'runner-1.json'), 'utf8'));
    process.kill(journal.guardPid, 'SIGSTOP');
    const asked = run('exit 0');
    await Promise.all([running, asked].map((lost) => expect(lost).rejects.toThrow(ProcessLostError)));
    expect(groupsOfLease(leaseId)).toEqual([]);
    expect(await run('exit 0')).toEqual({ exitCode: 0, signal: null });
  });

  it('has ended when the runner is killed, whatever was just being started', async () => {
    const leaseId = newId();
    const dist = join(PROJECT, 'dist/environments/drivers/guard');
    const script = `
      const { ProcessGuard } = await import('${dist}/process-guard.js');
      const guard = new ProcessGuard('${journalsIn(home)}/runner-' + process.pid + '.json');
      await guard.start();
      const env = { PATH: '${process.env.PATH}', ${LEASE_VARIABLE}: '${leaseId}' };
      const command = { leaseId: '${leaseId}', deadline: Infinity, program: 'sleep', args: ['600'], cwd: '/', env };
      const run = () => guard.run({ ...command, deadline: 1e15 });
      await run().started;
      console.log('ready');
      setInterval(() => { run(); run(); }, 1);`;
    for (let round = 0; round < 20; round++) {
      const runner = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      await once(runner.stdout, 'data');
      await delay(round * 3);
      runner.kill('SIGKILL');
      // The guard is the last that has this home, and removes what it had there.
      await eventually(
        () => readdir(journalsIn(home)),
        (names) => !names.some((name) => name.startsWith(`runner-${runner.pid}`)),
        10_000,
      );
      await eventually(
        async () => groupsOfLease(leaseId),
        (groups) => groups.length === 0,
        1_000,
      );
    }
  }, 60_000);
});
