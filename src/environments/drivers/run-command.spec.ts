import { tmpdir } from 'node:os';
import { anyLease } from '../../../test/support/local-driver.js';
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
        started: (groupId) => void told.push(`started, ${isGroupRunning((id = groupId)) ? 'runs' : 'gone'}`),
        release: () => void told.push(`release, ${isGroupRunning(id) ? 'runs' : 'gone'}`),
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
    expect(told).toEqual([`hold ${lease.id} until ${lease.deadline}`, 'started, runs', 'release, gone']);
  });

  it('has nothing guarded any more that could not be started', async () => {
    await expect(run('there-is-no-such-program')).rejects.toThrow('was not found');
    expect(told).toEqual([`hold ${lease.id} until ${lease.deadline}`, 'release, gone']);
  });
});
