import { stat } from 'node:fs/promises';
import { CommandNotStartedError, DriverFailedError } from './driver-errors.js';
import type { Command, CommandResult } from './environment-driver.port.js';
import { StartFailure, type GuardedChild } from './guard/guarded-child.js';
import type { ProcessGuard } from './guard/process-guard.js';
import { OutputPump } from './output-pump.js';
import { ProcessGroup } from './process-group.js';

/** A command, of which somebody else has said where it starts. */
type LocatedCommand = Omit<Command, 'cwd'>;

/**
 * Runs a command on this machine, in a process group of its own, to the end of that whole group. The guard starts it, and
 * ends it where this process cannot.
 * @throws CommandNotStartedError; ProcessLostError when the guard is lost; whatever `onOutput` or `onSpawn` throws. The
 * group has ended by then.
 */
export async function runCommand(cwd: string, command: LocatedCommand, guard: ProcessGuard): Promise<CommandResult> {
  await guard.ready();
  if (command.signal.aborted) {
    throw new CommandNotStartedError(`"${command.program}" was not started, because the run had been ended before`);
  }
  const { program, args, env, lease } = command;
  const child = guard.run({ program, args, cwd, env, leaseId: lease.id, deadline: lease.deadline });
  try {
    await child.started;
    return await attend(child, command);
  } catch (error) {
    throw error instanceof StartFailure ? await notStarted(cwd, command, error) : error;
  } finally {
    guard.release(child);
  }
}

/** Sees a command that has started to its end. */
async function attend(child: GuardedChild, command: LocatedCommand): Promise<CommandResult> {
  const group = new ProcessGroup(child.hold.groupId!);
  const end = () => void group.end(command.graceMs);
  const pumps: OutputPump[] = [];
  let groupHasEnded = false;
  command.signal.addEventListener('abort', end, { once: true });
  if (command.signal.aborted) end();
  try {
    command.onSpawn?.({ pid: group.id, processGroupId: group.id, startedAt: new Date() });
    const { stdout, stderr } = await child.outputs;
    pumps.push(new OutputPump(stdout, (chunk) => command.onOutput('stdout', chunk)));
    pumps.push(new OutputPump(stderr, (chunk) => command.onOutput('stderr', chunk)));
    // Output that nobody takes any more ends the command; the failure itself is reported below.
    for (const pump of pumps) pump.done.catch(end);
    const exit = await child.exited;
    groupHasEnded = exit.groupHasEnded;
    return { exitCode: exit.exitCode, signal: exit.signal };
  } finally {
    command.signal.removeEventListener('abort', end);
    if (!groupHasEnded) await group.end(command.graceMs);
    await finishAll(pumps);
  }
}

/** Waits for both streams, so that nothing is delivered after the command has returned. */
async function finishAll(pumps: OutputPump[]): Promise<void> {
  for (const outcome of await Promise.allSettled(pumps.map((pump) => pump.finish()))) {
    if (outcome.status === 'rejected') throw outcome.reason;
  }
}

async function notStarted(cwd: string, command: LocatedCommand, failure: StartFailure): Promise<Error> {
  if (failure.code === null) {
    return new DriverFailedError(`"${command.program}" could not be started: ${failure.message}`);
  }
  return new CommandNotStartedError(await whyNotStarted(cwd, command, failure));
}

/** The operating system answers "no such file" for a missing program and for a missing directory alike. */
async function whyNotStarted(
  cwd: string,
  { program }: Pick<Command, 'program'>,
  { code, message }: StartFailure,
): Promise<string> {
  const directory = await stat(cwd).catch(() => null);
  if (!directory) return `"${program}" could not be started: the directory ${cwd} does not exist`;
  if (!directory.isDirectory()) return `"${program}" could not be started: ${cwd} is not a directory`;
  switch (code) {
    case 'ENOENT':
      return `The program "${program}" (or the interpreter that its first line names) was not found`;
    case 'EACCES':
      return `The program "${program}" is not executable, or ${cwd} may not be entered`;
    case 'E2BIG':
      return `"${program}" could not be started: its arguments and environment variables are too large together`;
    default:
      return `"${program}" could not be started: ${message}`;
  }
}
