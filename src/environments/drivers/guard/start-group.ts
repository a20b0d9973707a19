import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { outputHeader, type OutputName, type StartMessage } from './messages.ts';

/**
 * Starts a command as the leader of a process group. Its streams are connections to the runner, which this process does
 * not read: nothing that a program writes passes through here.
 * @param outputPath where the runner listens for them.
 * @param beforeStart called right before; what it throws keeps the program from being started.
 * @throws the system's error when the program cannot be started; an Error without a code for what goes wrong around it.
 */
export async function startGroup(
  { id, program, args, cwd, env }: StartMessage,
  outputPath: string,
  beforeStart: () => void,
): Promise<ChildProcess> {
  const outputs = await connectOutputs(outputPath, id);
  try {
    beforeStart();
    const child = spawn(program, args, { cwd, env, stdio: ['ignore', ...outputs], detached: true });
    if (child.pid === undefined) await once(child, 'spawn');
    // Whatever goes wrong with a running child shows in how it ends.
    child.on('error', () => {});
    return child;
  } finally {
    // The child has its own by now.
    for (const output of outputs) output.destroy();
  }
}

async function connectOutputs(path: string, id: string): Promise<Socket[]> {
  const names: OutputName[] = ['stdout', 'stderr'];
  const connected = await Promise.allSettled(names.map((name) => connectOutput(path, outputHeader(id, name))));
  const outputs = connected.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const failed = connected.find((one) => one.status === 'rejected');
  if (!failed) return outputs;
  for (const output of outputs) output.destroy();
  throw new Error(`its output cannot be received: ${(failed.reason as Error).message}`);
}

function connectOutput(path: string, header: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.on('error', reject);
    // What is read is the child's.
    socket.pause();
    socket.write(header, (error) => (error ? reject(error) : resolve(socket)));
  });
}

/** Whether the group has members, be they only waiting for their collection. */
export function isGroupThere(groupId: number): boolean {
  try {
    return process.kill(-groupId, 0);
  } catch (error) {
    // EPERM: there are members, and they have become another user's.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
