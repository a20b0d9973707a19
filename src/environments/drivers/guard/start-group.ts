import { closeSync } from 'node:fs';
import { outputHeader, type StartMessage } from './messages.ts';
import { connectOutput } from './output-connection.ts';
import { startProgram, type Exit } from './posix-spawn.ts';

/**
 * Starts a command as the leader of a process group. Its streams are connections to the runner, which this process does
 * not read: nothing that a program writes passes through here.
 * @param outputPath where the runner listens for them.
 * @param beforeStart called right before; what it throws keeps the program from being started.
 * @param onExit called when the leader has ended.
 * @returns the group's id.
 * @throws the system's error when the program cannot be started; an Error without a code for what goes wrong around it.
 */
export function startGroup(
  { id, program, args, cwd, env }: StartMessage,
  outputPath: string,
  beforeStart: () => void,
  onExit: (exit: Exit) => void,
): number {
  const outputs: number[] = [];
  const connected = (header: string) => {
    const fd = connectOutput(outputPath, header);
    outputs.push(fd);
    return fd;
  };
  try {
    const stdout = connected(outputHeader(id, 'stdout'));
    const stderr = connected(outputHeader(id, 'stderr'));
    beforeStart();
    return startProgram({ program, args, cwd, env, stdout, stderr }, onExit);
  } finally {
    // The child has its own by now.
    for (const output of outputs) closeSync(output);
  }
}
