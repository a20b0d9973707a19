import { execFile } from 'node:child_process';
import { readFile, readlink, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Binaries } from './binaries.js';
import { programEnvironment } from './data-directory.js';
import { SOCKET_NAME } from './endpoint.js';

/** How long a fast stop may take to write everything out before open work is abandoned to crash recovery. */
const FAST_STOP_MS = 30_000;
/** How long a process that has ended is waited for in the process table. */
const REAP_MS = 1_000;

const STATES = ['ready', 'starting', 'stopping'] as const;

/** What a running server says about itself in `postmaster.pid`. */
export interface PidFile {
  readonly pid: number;
  readonly state: 'ready' | 'starting' | 'stopping' | 'unknown';
}

/** Null when no server has run here since the last clean stop. */
export async function readPidFile(directory: string): Promise<PidFile | null> {
  const lines = await readFile(path.join(directory, 'postmaster.pid'), 'utf8').then(
    (text) => text.split('\n'),
    () => null,
  );
  const pid = Number(lines?.[0]);
  const state = STATES.find((known) => known === lines?.[7]?.trim()) ?? 'unknown';
  return pid > 0 ? { pid, state } : null;
}

/**
 * Lets a new server take over from one that died without removing its pid file, when the process id in it has since
 * been given to another program or is kept by a dead process: PostgreSQL would take that for its server and refuse.
 * The file stays, under the id of this process, which PostgreSQL does not count: it is how the new server finds out
 * whether children of the old one still hold the data.
 */
export async function takeOverPidFile(directory: string, socketDirectory: string, { pid }: PidFile): Promise<void> {
  if (await mayBeServer(pid, directory)) return;
  const file = path.join(directory, 'postmaster.pid');
  const [, ...rest] = (await readFile(file, 'utf8')).split('\n');
  await writeFile(file, [process.pid, ...rest].join('\n'));
  await rm(path.join(socketDirectory, `${SOCKET_NAME}.lock`), { force: true });
}

async function mayBeServer(pid: number, directory: string): Promise<boolean> {
  const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  if (/\) Z /.test(state)) return false;
  const worksIn = await readlink(`/proc/${pid}/cwd`).catch(() => null);
  return worksIn === null || worksIn === directory;
}

/** Whether a process with this id exists, ours or another user's. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Stops a server: its sessions are ended at once, its data is written out. Returns when the process is gone. */
export async function stopPostmaster(pid: number, directory: string, binaries: Binaries): Promise<void> {
  if (process.platform === 'win32') {
    const stop = ['stop', '-D', directory, '-m', 'fast', '-w'];
    await promisify(execFile)(binaries.pgCtl, stop, { env: programEnvironment() });
    return;
  }
  signal(pid, 'SIGINT');
  if (await gone(pid, directory, FAST_STOP_MS)) return;
  signal(pid, 'SIGQUIT');
  await gone(pid, directory, FAST_STOP_MS);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // Already gone, which is what was asked for.
  }
}

/**
 * Whether it ended in time. It removes its pid file as its last act; one that nobody reaps stays in the process table.
 */
async function gone(pid: number, directory: string, withinMs: number): Promise<boolean> {
  let giveUpAt = Date.now() + withinMs;
  let done = false;
  while (isAlive(pid)) {
    if (!done && (await readPidFile(directory))?.pid !== pid) {
      done = true;
      giveUpAt = Date.now() + REAP_MS;
    }
    if (Date.now() > giveUpAt) return done;
    await sleep(10);
  }
  return true;
}
