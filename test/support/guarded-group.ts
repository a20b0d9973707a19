import { spawn, type ChildProcess } from 'node:child_process';
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

  static start(leaseId: string): Promise<GuardedGroup> {
    return GuardedGroup.spawn(leaseId, 'sleep 600', ({ stdout }) => once(stdout!, 'data'));
  }

  /** A group in which only the leader's child is left. */
  static leaderless(leaseId: string): Promise<GuardedGroup> {
    return GuardedGroup.spawn(leaseId, 'exit 0', (child) => once(child, 'exit'));
  }

  private static async spawn(
    leaseId: string,
    leader: string,
    until: (child: ChildProcess) => Promise<unknown>,
  ): Promise<GuardedGroup> {
    const child = spawn('sh', ['-c', `sleep 600 & echo ready; ${leader}`], {
      env: { PATH: process.env.PATH, PAPERCLIP_LEASE_ID: leaseId },
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
    });
    const { startTime } = statOf(child.pid!)!;
    await until(child);
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
