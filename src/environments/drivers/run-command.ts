import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { CommandNotStartedError } from './driver-errors.js';
import type { Command, CommandResult } from './environment-driver.port.js';
import type { GuardedChild, ProcessGuard } from './guard/process-guard.js';
import { OutputPump } from './output-pump.js';
import { ProcessGroup } from './process-group.js';

/**
 * Runs a command on this machine, in a process group of its own, to the end of that whole group. The guard ends it where
 * this process cannot.
 * @throws CommandNotStartedError; whatever `onOutput` or `onSpawn` throws, once the group has ended.
 */
export async function runCommand(directory: string, command: Command, guard: ProcessGuard): Promise<CommandResult> {
  const cwd = command.cwd === null ? directory : resolve(directory, command.cwd);
  if (command.signal.aborted) {
    throw new CommandNotStartedError(`"${command.program}" was not started, because the run had been ended before`);
  }
  const guarded = guard.hold(command.lease.id, command.lease.deadline);
  try {
    return await run(cwd, command, guarded);
  } finally {
    guarded.release();
  }
}

async function run(cwd: string, command: Command, guarded: GuardedChild): Promise<CommandResult> {
  const child = await start(cwd, command, guarded);
  const group = new ProcessGroup(child.pid as number);
  const end = () => void group.end(command.graceMs);
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  const pumps = [
    new OutputPump(child.stdout as Readable, (chunk) => command.onOutput('stdout', chunk)),
    new OutputPump(child.stderr as Readable, (chunk) => command.onOutput('stderr', chunk)),
  ];
  // Output that nobody takes any more ends the command; the failure itself is reported below.
  for (const pump of pumps) pump.done.catch(end);
  command.signal.addEventListener('abort', end, { once: true });
  try {
    command.onSpawn?.({ pid: group.id, processGroupId: group.id, startedAt: new Date() });
    const [exitCode, signal] = await exited;
    return { exitCode, signal };
  } finally {
    command.signal.removeEventListener('abort', end);
    await group.end(command.graceMs);
    await finishAll(pumps);
  }
}

/** Waits for both streams, so that nothing is delivered after the command has returned. */
async function finishAll(pumps: OutputPump[]): Promise<void> {
  for (const outcome of await Promise.allSettled(pumps.map((pump) => pump.finish()))) {
    if (outcome.status === 'rejected') throw outcome.reason;
  }
}

async function start(cwd: string, command: Command, guarded: GuardedChild): Promise<ChildProcess> {
  try {
    const child = spawn(command.program, command.args, {
      cwd,
      env: { ...command.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      shell: false,
    });
    if (child.pid === undefined) await once(child, 'spawn');
    else guarded.started(child.pid);
    // Whatever goes wrong with a running child (a signal that cannot be sent) shows in how it ends.
    child.on('error', () => {});
    return child;
  } catch (error) {
    throw new CommandNotStartedError(await whyNotStarted(cwd, command, error as NodeJS.ErrnoException));
  }
}

/** The operating system answers "no such file" for a missing program and for a missing directory alike. */
async function whyNotStarted(cwd: string, { program }: Command, error: NodeJS.ErrnoException): Promise<string> {
  const directory = await stat(cwd).catch(() => null);
  if (!directory) return `"${program}" could not be started: the directory ${cwd} does not exist`;
  if (!directory.isDirectory()) return `"${program}" could not be started: ${cwd} is not a directory`;
  switch (error.code) {
    case 'ENOENT':
      return `The program "${program}" (or the interpreter that its first line names) was not found`;
    case 'EACCES':
      return `The program "${program}" is not executable, or ${cwd} may not be entered`;
    case 'E2BIG':
      return `"${program}" could not be started: its arguments and environment variables are too large together`;
    default:
      return `"${program}" could not be started: ${error.message}`;
  }
}
