import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** Whether a process of this group still runs; what is only a zombie waits for its collection and has ended. */
export function isGroupRunning(groupId: number): boolean {
  return processes().some(({ group, state }) => group === groupId && state !== 'Z' && state !== 'X');
}

function processes(): { group: number; state: string }[] {
  if (process.platform === 'linux')
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(fromProc);
  const lines = execFileSync('ps', ['-A', '-o', 'pgid=,stat='], { encoding: 'utf8' }).trim().split('\n');
  return lines
    .map((line) => line.trim().split(/\s+/))
    .map(([group, stat]) => ({ group: Number(group), state: stat[0] }));
}

function fromProc(pid: string): { group: number; state: string } {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { group: Number(group), state };
  } catch {
    return { group: 0, state: 'X' };
  }
}
