import { createHash, randomBytes } from 'node:crypto';
import { chown, lstat, mkdir, readFile, rmdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { StartupError } from '../../config/startup-error.js';
import type { Account } from './account.js';

/** How the server is reached. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  /** Null where the permissions of the socket's directory are what keeps others out. */
  readonly password: string | null;
  /**
   * The server's settings that make it listen there.
   * @param dataDirectory what the server itself calls its data directory.
   */
  settings(dataDirectory: string): Record<string, string>;
  /** Removes what was made for it alone, once the server has ended. */
  remove(): Promise<void>;
}

const PORT = 5432;
/** The longest path of a Unix socket, the system's terminating zero left out. */
const SOCKET_PATH_BYTES = process.platform === 'darwin' ? 103 : 107;
/** The socket's file in its directory. */
export const SOCKET_NAME = `.s.PGSQL.${PORT}`;

/**
 * A Unix socket in the data directory: no port that could be taken, no password to keep. Where its path would be too
 * long, a directory of its own among the temporary files; on Windows, loopback TCP with a random password.
 */
export async function chooseEndpoint(home: string, directory: string, account: Account | null): Promise<Endpoint> {
  if (process.platform === 'win32') return loopback(home, directory);
  if (Buffer.byteLength(path.join(directory, SOCKET_NAME)) <= SOCKET_PATH_BYTES) {
    return socketIn(directory, (dataDirectory) => dataDirectory);
  }
  const short = path.join(tmpdir(), `berth-${createHash('sha256').update(directory).digest('hex').slice(0, 16)}`);
  await ownDirectory(short, account);
  return socketIn(
    short,
    () => short,
    () => rmdir(short),
  );
}

export function urlOf({ host, port, password }: Endpoint, database: string): string {
  const credentials = password === null ? 'postgres' : `postgres:${password}`;
  if (!path.isAbsolute(host)) return `postgres://${credentials}@${host}:${port}/${database}`;
  return `postgres://${credentials}@localhost:${port}/${database}?host=${encodeURIComponent(host)}`;
}

const socketIn = (
  host: string,
  seenByServer: (dataDirectory: string) => string,
  remove: () => Promise<void> = () => Promise.resolve(),
): Endpoint => ({
  remove,
  host,
  port: PORT,
  password: null,
  settings: (dataDirectory) => ({
    listen_addresses: '',
    port: String(PORT),
    unix_socket_directories: seenByServer(dataDirectory),
    unix_socket_permissions: '0700',
  }),
});

/** Makes the directory for this account alone; one that somebody else has made under this name is not trusted. */
async function ownDirectory(directory: string, account: Account | null): Promise<void> {
  const uid = account?.uid ?? process.getuid?.();
  await mkdir(directory, { mode: 0o700 }).then(
    () => account && chown(directory, account.uid, account.gid),
    async (error: NodeJS.ErrnoException) => {
      const found = error.code === 'EEXIST' ? await lstat(directory) : null;
      if (found?.isDirectory() && found.uid === uid && (found.mode & 0o077) === 0) return;
      throw new StartupError(
        `The path of BERTH_HOME is too long for the database's socket, and ${directory} cannot be used instead ` +
          `(${found ? 'somebody else has made it' : error.message}). Set BERTH_HOME to a shorter path.`,
      );
    },
  );
}

/** A server that still runs keeps its port: the fourth line of its pid file. */
async function loopback(home: string, directory: string): Promise<Endpoint> {
  const kept = await readFile(path.join(home, 'postgres.password'), 'utf8').catch(() => null);
  const running = await readFile(path.join(directory, 'postmaster.pid'), 'utf8').catch(() => '');
  const port = Number(running.split('\n')[3]) || (await freePort());
  return {
    host: '127.0.0.1',
    port,
    password: kept ?? randomBytes(24).toString('base64url'),
    remove: () => Promise.resolve(),
    settings: () => ({ listen_addresses: '127.0.0.1', port: String(port), unix_socket_directories: '' }),
  };
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return address !== null && typeof address === 'object' ? address.port : 0;
}
