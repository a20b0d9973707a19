import { connect, type Socket } from 'node:net';
import { outputHeader, type OutputName, type StartMessage } from './messages.ts';
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
export async function startGroup(
  { id, program, args, cwd, env }: StartMessage,
  outputPath: string,
  beforeStart: () => void,
  onExit: (exit: Exit) => void,
): Promise<number> {
  const outputs = await connectOutputs(outputPath, id);
  try {
    beforeStart();
    const [stdout, stderr] = outputs.map(descriptorOf);
    return startProgram({ program, args, cwd, env, stdout, stderr }, onExit);
  } finally {
    // The child has its own by now.
    for (const output of outputs) output.destroy();
  }
}

/** Node documents the descriptors of files, but not those of connections. */
const descriptorOf = (socket: Socket) => (socket as unknown as { _handle: { fd: number } })._handle.fd;

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
