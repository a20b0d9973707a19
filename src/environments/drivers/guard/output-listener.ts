import { once } from 'node:events';
import { chmod, mkdir, mkdtemp } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { outputHeader, type OutputName } from './messages.js';
import { removeOutputs } from './runner-journal.js';

const ID_LENGTH = crypto.randomUUID().length;
const HEADER_LENGTH = outputHeader(crypto.randomUUID(), 'stdout').length;

/**
 * Connections that may wait to be taken: two for each command that the guard starts while this process is busy. Of more,
 * and of more than the system allows (`net.core.somaxconn`, 4096 as a rule), the guard is refused.
 */
const BACKLOG = 4096;

type Deliver = (name: OutputName, stream: Socket) => void;

/** Receives the output of commands that the guard starts: each stream is a connection that begins with its header. */
export class OutputListener {
  private readonly expected = new Map<string, Deliver>();

  private constructor(
    private readonly server: Server,
    /** Where it listens. */
    readonly path: string,
  ) {
    server.on('connection', (stream) => this.greet(stream));
  }

  /** @param path tried first: it may be too long for a socket, or on a file system that knows none. */
  static async open(path: string): Promise<OutputListener> {
    const server = createServer({ allowHalfOpen: true });
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      return new OutputListener(server, await listen(server, path));
    } catch {
      removeOutputs(path);
      return new OutputListener(server, await listen(server, join(await mkdtemp(join(tmpdir(), 'berth-')), 'outputs')));
    }
  }

  /** The streams of a command that is about to be started. */
  expect(id: string, deliver: Deliver): void {
    this.expected.set(id, deliver);
  }

  /** Whatever of it still comes is closed. */
  forget(id: string): void {
    this.expected.delete(id);
  }

  close(): void {
    this.server.close();
    removeOutputs(this.path);
  }

  private greet(stream: Socket): void {
    // How a stream ends is seen by whoever reads it.
    stream.on('error', () => {});
    stream.once('readable', () => {
      const header = String(stream.read(HEADER_LENGTH));
      const deliver = this.expected.get(header.slice(0, ID_LENGTH));
      if (deliver) deliver(header.slice(ID_LENGTH).trim() as OutputName, stream);
      else stream.destroy();
    });
  }
}

/** Only this user can connect, and every connection has to name what nobody can guess. */
async function listen(server: Server, path: string): Promise<string> {
  server.listen({ path, backlog: BACKLOG });
  await once(server, 'listening');
  await chmod(path, 0o600);
  return path;
}
