import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasEnded, parseStat } from './guard/process-table.js';

/** How long killed processes may take to be gone: they can sit in an uninterruptible call. */
const AFTER_KILL_MS = 5_000;
const FIRST_POLL_MS = 5;
const MAX_POLL_MS = 100;

/** A process group that this program started, named by its leader's pid. */
export class ProcessGroup {
  private ending: Promise<void> | null = null;

  constructor(readonly id: number) {}

  /**
   * SIGTERM to every member, SIGKILL to whoever is left after the grace; resolves when none runs any more. The grace
   * counts from the first call, later ones wait for the same end.
   */
  end(graceMs: number): Promise<void> {
    this.ending ??= this.endOnce(graceMs);
    return this.ending;
  }

  private async endOnce(graceMs: number): Promise<void> {
    // Nobody can come into a group without members.
    if (!this.signal('SIGTERM')) return;
    await this.goneWithin(graceMs);
    // Also where none was seen any more: one that was started while another ended is missed by whoever looks.
    this.signal('SIGKILL');
    await this.goneWithin(AFTER_KILL_MS);
  }

  /** The operating system tells nobody that a group has emptied, so this has to look; ever less often. */
  private async goneWithin(ms: number): Promise<boolean> {
    const deadline = performance.now() + ms;
    for (let poll = FIRST_POLL_MS; await this.isRunning(); poll = Math.min(poll * 2, MAX_POLL_MS)) {
      const left = deadline - performance.now();
      if (left <= 0) return false;
      await sleep(Math.min(poll, left));
    }
    return true;
  }

  private signal(signal: NodeJS.Signals | 0): boolean {
    try {
      return process.kill(-this.id, signal);
    } catch (error) {
      // EPERM: there are members, and they have become another user's.
      return (error as NodeJS.ErrnoException).code === 'EPERM';
    }
  }

  private async isRunning(): Promise<boolean> {
    if (!this.signal(0)) return false;
    return process.platform === 'linux' ? hasRunningMember(this.id) : true;
  }
}

/**
 * A signal reaches zombies too, and orphans stay zombies for ever where process 1 does not collect them (a container
 * whose first process is this one). What is only a zombie has ended.
 */
async function hasRunningMember(groupId: number): Promise<boolean> {
  const names = await readdir('/proc').catch(() => null);
  if (names === null) return true; // nowhere to look closer
  for (const name of names) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
    const member = parseStat(stat);
    if (member.groupId === groupId && !hasEnded(member)) return true;
  }
  return false;
}
