import { execFile } from 'node:child_process';
import { chown, mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { StartupError } from '../../config/startup-error.js';
import { canUse, type Account } from './account.js';
import type { Binaries } from './binaries.js';

const run = promisify(execFile);

/** What the programs get of this process's environment: nothing that could configure them. */
export const programEnvironment = (): NodeJS.ProcessEnv => ({
  PATH: process.env.PATH,
  TZ: 'UTC',
  ...(process.platform === 'win32' ? { SystemRoot: process.env.SystemRoot, TEMP: process.env.TEMP } : {}),
});

/** How a PostgreSQL program is started on a data directory: what to call the directory, and from where. */
export interface Invocation {
  readonly directory: string;
  readonly options: { cwd: string; env: NodeJS.ProcessEnv; uid?: number; gid?: number };
}

/**
 * How the account reaches the data directory. Where a directory above it is closed to the account, the program starts
 * inside it, entered while still root, and calls it by a name that needs no way through the directories above.
 * @throws StartupError where the system has no such name.
 */
export async function invocationIn(directory: string, account: Account | null): Promise<Invocation> {
  const env = programEnvironment();
  if (!account) return { directory, options: { cwd: directory, env } };
  const options = { cwd: directory, env, uid: account.uid, gid: account.gid };
  if (await canUse(account, path.dirname(directory))) return { directory, options };
  if (process.platform === 'linux') return { directory: '/proc/self/cwd', options };
  throw new StartupError(
    `PostgreSQL does not run as root, and the account ${account.name} cannot reach ${directory}. Set BERTH_HOME to a ` +
      'directory that everybody may enter, start Berth as an ordinary user, or set BERTH_DATABASE_URL.',
  );
}

/**
 * Makes the data directory unless it is there. It is filled under another name and renamed when complete, so that a
 * crash half way leaves nothing that looks like a database.
 * @param durable false only for tests: skips syncing the files to disk.
 * @throws StartupError when it was made by another version, or cannot be made.
 */
export async function initialise(
  directory: string,
  binaries: Binaries,
  account: Account | null,
  password: string | null,
  durable: boolean,
): Promise<void> {
  const version = await readFile(path.join(directory, 'PG_VERSION'), 'utf8').catch(noneIfAbsent(directory));
  if (version !== null) return refuseOtherVersion(directory, version.trim(), binaries);
  const partial = `${directory}.new`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { mode: 0o700 });
  if (account) await chown(partial, account.uid, account.gid);
  const invocation = await invocationIn(partial, account);
  const passwordFile = `${directory}.password`;
  if (password !== null) await writeFile(passwordFile, password, { mode: 0o600 });
  const authentication =
    password === null
      ? ['--auth-local=trust', '--auth-host=reject']
      : ['--auth=scram-sha-256', `--pwfile=${passwordFile}`];
  await run(
    binaries.initdb,
    [
      ...['-D', invocation.directory, '-U', 'postgres', '--encoding=UTF8', ...authentication],
      ...['--locale-provider=builtin', '--locale=C.UTF-8', ...(durable ? [] : ['--no-sync'])],
    ],
    invocation.options,
  ).catch((error: { stderr?: string; message: string }) => {
    throw new StartupError(`The database could not be made in ${directory}: ${(error.stderr || error.message).trim()}`);
  });
  await rename(partial, directory);
  if (durable) await syncDirectory(path.dirname(directory));
}

/** Makes the rename as durable as what is written into the database later. */
async function syncDirectory(directory: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(directory);
  await handle.sync().finally(() => handle.close());
}

const noneIfAbsent = (directory: string) => (error: NodeJS.ErrnoException) => {
  if (error.code === 'ENOENT') return null;
  throw new StartupError(
    `The database in ${directory} cannot be read (${error.code}): start Berth as the user who made it, or set ` +
      'BERTH_HOME to another directory.',
  );
};

async function refuseOtherVersion(directory: string, version: string, binaries: Binaries): Promise<void> {
  const { stdout } = await run(binaries.postgres, ['--version'], { env: programEnvironment(), cwd: '/' });
  const ours = /(\d+)\./.exec(stdout)?.[1] ?? stdout.trim();
  if (version === ours) return;
  throw new StartupError(
    `The database in ${directory} was made by PostgreSQL ${version}, and this Berth brings PostgreSQL ${ours}. Move it ` +
      `with pg_dump, or run PostgreSQL ${version} on it and set BERTH_DATABASE_URL.`,
  );
}
