import { tmpdir } from 'node:os';
import { anyLease } from '../../../test/support/local-driver.js';
import { isAlive } from '../../../test/support/hand-runner.js';
import { isGroupRunning } from '../../../test/contracts/process-groups.js';
import type { Command } from './environment-driver.port.js';
import type { ProcessGuard } from './guard/process-guard.js';
import { runCommand } from './run-command.js';

describe(runCommand.name, () => {
  let told: string[];
  let lease: Command['lease'];
  beforeEach(() => {
    told = [];
    lease = anyLease();
  });

  const guard: Pick<ProcessGuard, 'hold'> = {
    hold: (leaseId, deadline) => {
      let id = -1;
      told.push(`hold ${leaseId} until ${deadline}`);
      return {
        started: (groupId) => void told.push(`started ${isAlive((id = groupId))}`),
        release: () => void told.push(`release ${isGroupRunning(id) ? 'too early' : 'after the end'}`),
      };
    },
  };

  const run = (program: string, ...args: string[]) =>
    runCommand(
      tmpdir(),
      {
        lease,
        program,
        args,
        env: { PATH: process.env.PATH ?? '' },
        cwd: null,
        graceMs: 5000,
        signal: new AbortController().signal,
        onOutput: () => undefined,
      },
      guard as ProcessGuard,
    );

  it('has its process group guarded from before its start until all of it has ended', async () => {
    await run('sh', '-c', 'sleep 600 & exit 0');
    expect(told).toEqual([`hold ${lease.id} until ${lease.deadline}`, 'started true', 'release after the end']);
  });

  it('has nothing guarded any more that could not be started', async () => {
    await expect(run('there-is-no-such-program')).rejects.toThrow('was not found');
    expect(told).toEqual([`hold ${lease.id} until ${lease.deadline}`, 'release after the end']);
  });
});
