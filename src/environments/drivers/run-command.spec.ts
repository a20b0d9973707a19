import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '../../../test/support/eventually.js';
import { anyLease, guardOfSuite } from '../../../test/support/local-driver.js';
import { isGroupRunning } from '../../../test/contracts/process-groups.js';
import { CommandNotStartedError } from './driver-errors.js';
import type { Command } from './environment-driver.port.js';
import { journalsIn, parseJournal } from './guard/runner-journal.js';
import { runCommand } from './run-command.js';

const home = await mkdtemp(join(tmpdir(), 'berth-command-'));
const guard = guardOfSuite(home);
afterAll(() => rm(home, { recursive: true }));

describe(runCommand.name, () => {
  const run = (script: string, changes: Partial<Command> = {}) =>
    runCommand(
      home,
      {
        lease: anyLease(),
        program: 'sh',
        args: ['-c', script],
        env: { PATH: process.env.PATH ?? '' },
        cwd: null,
        graceMs: 5000,
        signal: new AbortController().signal,
        onOutput: () => undefined,
        ...changes,
      },
      guard,
    );

  const held = async () => {
    const journal = await readFile(join(journalsIn(home), 'runner-1.json'), 'utf8');
    return parseJournal(journal).groups;
  };
  const nothingHeld = () => eventually(held, (groups) => groups.length === 0);

  it('has its process group guarded until all of it has ended', async () => {
    const seen: unknown[] = [];
    await run('sleep 600 & echo begun; exit 0', {
      onOutput: async () => void seen.push(...(await eventually(held, ([one]) => one?.groupId !== null))),
    });
    expect(seen).toHaveLength(1);
    await nothingHeld();
  });

  it('has nothing guarded any more that could not be started', async () => {
    await expect(run('', { program: 'there-is-no-such-program' })).rejects.toThrow('was not found');
    await nothingHeld();
  });

  it('ends what is being started when it is told to stop', async () => {
    const stop = new AbortController();
    const groups: number[] = [];
    const ended = run('sleep 600', {
      signal: stop.signal,
      onSpawn: ({ processGroupId }) => groups.push(processGroupId),
    });
    await Promise.resolve();
    stop.abort();
    const result = await ended.catch((error: unknown) => error);
    if (result instanceof CommandNotStartedError) return;
    expect(result).toEqual({ exitCode: null, signal: 'SIGTERM' });
    expect(isGroupRunning(groups[0])).toBe(false);
  });
});
