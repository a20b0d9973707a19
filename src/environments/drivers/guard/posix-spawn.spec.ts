import { constants } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Logger } from '@nestjs/common';
import { newId } from '../../../database/id.js';
import { processGuard } from '../../../../test/support/local-driver.js';
import { runCommand } from '../run-command.js';
import { bootClock } from './boot-clock.js';
import type { ProcessGuard } from './process-guard.js';

/** The signals that have names; the C library keeps two of those above for itself. */
const NAMED = 0x7fffffffn;

// In the guard, as always: this process's children are not only its own.
describe('a program that is started', () => {
  let home: string;
  let guard: ProcessGuard;

  beforeAll(async () => {
    Logger.overrideLogger(false);
    home = await mkdtemp(join(tmpdir(), 'berth-spawn-'));
    guard = processGuard(home);
    await guard.start();
  });
  afterAll(async () => {
    await guard.stop();
    await rm(home, { recursive: true });
  });

  async function run(program: string, args: string[] = [], env: Record<string, string> = { PATH: '/usr/bin:/bin' }) {
    let said = '';
    const ended = await runCommand(
      home,
      {
        ...{ program, args, env, graceMs: 0, signal: new AbortController().signal },
        lease: { id: newId(), deadline: bootClock() + 60_000 },
        onOutput: (_stream, chunk) => void (said += String(chunk)),
      },
      guard,
    );
    return { ...ended, said: said.trim() };
  }

  async function script(path: string, text: string, mode = 0o755): Promise<void> {
    await mkdir(join(home, path, '..'), { recursive: true });
    await writeFile(join(home, path), text);
    await chmod(join(home, path), mode);
  }

  it('has each connection for its output once', async () => {
    const { said } = await run('ls', ['-l', '/proc/self/fd']);
    const [stdout, stderr, ...others] = said.match(/socket:\[\d+\]/g)!;
    expect(others).not.toContain(stdout);
    expect(others).not.toContain(stderr);
  });

  it('is found by its own PATH, seen from where it starts', async () => {
    await script('tools/berth-look', '#!/bin/sh\necho "found as $0"');
    expect(await run('berth-look', [], { PATH: 'nowhere:tools' })).toMatchObject({ said: 'found as tools/berth-look' });
    await expect(run('berth-look', [], { PATH: '/usr/bin' })).rejects.toThrow('was not found');
    await script('berth-look', '#!/bin/sh\necho "found where it starts"');
    await expect(run('berth-look', [], { PATH: 'nowhere' })).rejects.toThrow('was not found');
    expect(await run('tools/berth-look')).toMatchObject({ said: 'found as tools/berth-look' });
  });

  it('is found as the system reads a path, not as its words are', async () => {
    await script('real/bin/berth-near', '#!/bin/sh\necho near');
    await mkdir(join(home, 'real/deep'));
    await symlink('real/deep', join(home, 'link'));
    expect(await run('berth-near', [], { PATH: 'link/../bin' })).toMatchObject({ said: 'near' });
  });

  it('is looked for further on where what has its name cannot be executed', async () => {
    await script('first/pick', 'not for execution', 0o644);
    await mkdir(join(home, 'second/pick'), { recursive: true });
    await script('third/pick', '#!/no/such/interpreter');
    await expect(run('pick', [], { PATH: 'nowhere:first:second:third' })).rejects.toThrow('is not executable');
    await script('fourth/pick', '#!/bin/sh\necho fourth');
    expect(await run('pick', [], { PATH: 'first:second:third:fourth' })).toMatchObject({ said: 'fourth' });
  });

  it('is found in the usual places without a PATH', async () => {
    expect(await run('true', [], {})).toMatchObject({ exitCode: 0 });
  });

  it('is read by a shell where it is a script that does not say by what', async () => {
    await script('plain', 'echo "$0 $1"');
    expect(await run('plain', ['given'], { PATH: '' })).toMatchObject({ said: './plain given' });
  });

  it('leads a session and a group of its own', async () => {
    const [pid, , , , group, session] = (await run('cat', ['/proc/self/stat'])).said.split(' ');
    expect([group, session]).toEqual([pid, pid]);
  });

  it('has every signal as the system gives it, whatever the guard does with its own', async () => {
    const { said } = await run('cat', ['/proc/self/status']);
    const mask = (name: string) => Number(BigInt(`0x${new RegExp(`^${name}:\\s+(\\w+)`, 'm').exec(said)![1]}`) & NAMED);
    expect(['SigBlk', 'SigIgn', 'SigCgt'].map(mask)).toEqual([0, 0, 0]);
  });

  it.each([1, 2])('waits where its output %s cannot be taken at once', async (fd) => {
    const { said } = await run('cat', [`/proc/self/fdinfo/${fd}`]);
    const flags = parseInt(/^flags:\s+(\d+)/m.exec(said)![1], 8);
    expect(flags & constants.O_NONBLOCK).toBe(0);
  });

  it('is told by the usual name of the signal that ended it', async () => {
    expect(await run('sh', ['-c', 'kill -6 $$'])).toMatchObject({ exitCode: null, signal: 'SIGABRT' });
  });

  it('has not ended well where a signal without a name ended it', async () => {
    expect(await run('sh', ['-c', 'kill -35 $$'])).toMatchObject({ exitCode: 128 + 35, signal: null });
  });
});
