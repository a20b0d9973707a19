import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { isGroupRunning } from '../../../test/contracts/process-groups.js';
import { ProcessGroup } from './process-group.js';

/** Whoever looks through the processes one by one misses a new one as often as not. */
const ROUNDS = 10;
const GRACE_MS = 500;
const HEIR = `sh -c 'trap "" TERM; sleep 600'`;

describe(ProcessGroup.name, () => {
  it('ends also a process that another one starts when it is asked to end', async () => {
    const script = `trap '${HEIR.replaceAll("'", `'\\''`)} & exit 0' TERM; echo ready; while :; do sleep 0.01; done`;
    const groups = await Promise.all(
      Array.from({ length: ROUNDS }, async () => {
        const leader = spawn('sh', ['-c', script], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
        await once(leader.stdout, 'data');
        return leader.pid!;
      }),
    );
    await Promise.all(groups.map((id) => new ProcessGroup(id).end(GRACE_MS)));
    const left = groups.filter((id) => isGroupRunning(id));
    for (const id of left) process.kill(-id, 'SIGKILL');
    expect(left).toEqual([]);
  });
});
