import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { statOf } from '../../src/environments/drivers/guard/process-table.js';
import { isGroupRunning } from '../contracts/process-groups.js';
import { eventually } from './eventually.js';

/** A process group such as a runner starts for a lease; its leader has a child of its own. */
export class GuardedGroup {
  private constructor(
    readonly id: number,
    readonly leaseId: string,
    /** Its leader's. */
    readonly startTime: string,
  ) {}

  /** @param script of the leader, once its child sleeps; by default it sleeps, too. */
  static async start(leaseId: string, script = 'sleep 600'): Promise<GuardedGroup> {
    const child = spawn('sh', ['-c', `sleep 600 & echo ready; ${script}`], {
      env: { PATH: process.env.PATH, PAPERCLIP_LEASE_ID: leaseId },
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
    });
    const { startTime } = statOf(child.pid!)!;
    await once(child.stdout, 'data');
    return new GuardedGroup(child.pid!, leaseId, startTime);
  }

  get isRunning(): boolean {
    return isGroupRunning(this.id);
  }

  async gone(withinMs = 5_000): Promise<void> {
    await eventually(
      async () => this.isRunning,
      (running) => !running,
      withinMs,
    );
  }

  /** Whatever a test came to. */
  kill(): void {
    if (this.isRunning) process.kill(-this.id, 'SIGKILL');
  }
}
