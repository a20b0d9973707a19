import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { StartupError } from '../../config/startup-error.js';

/** Who PostgreSQL runs as, where that is not the user of this process. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

const UNPRIVILEGED = ['postgres', 'nobody'];

/**
 * The account that PostgreSQL has to run as when this process is root: the owner of the data if there is one already,
 * else an unprivileged account that every system has. Null for an ordinary user: PostgreSQL then runs as that user.
 */
export async function accountFor(dataDirectory: string): Promise<Account | null> {
  if (process.getuid?.() !== 0) return null;
  const owner = await stat(dataDirectory).catch(() => null);
  if (owner && owner.uid !== 0) return { name: `with the user id ${owner.uid}`, uid: owner.uid, gid: owner.gid };
  const accounts = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  for (const wanted of UNPRIVILEGED) {
    const [name, , uid, gid] = accounts.find(([found]) => found === wanted) ?? [];
    if (name && uid && gid && uid !== '0') return { name, uid: Number(uid), gid: Number(gid) };
  }
  throw new StartupError(
    `PostgreSQL does not run as root, and this system has none of the accounts ${UNPRIVILEGED.join(', ')}. Start Berth ` +
      'as an ordinary user, or set BERTH_DATABASE_URL.',
  );
}

/** Whether the account may enter every directory above `file` and use it, by the permission bits. */
export async function canUse(account: Account, file: string): Promise<boolean> {
  for (let at = path.resolve(file); ; at = path.dirname(at)) {
    const found = await stat(at).catch(() => null);
    if (!found) return false;
    const shift = found.uid === account.uid ? 6 : found.gid === account.gid ? 3 : 0;
    if (!((found.mode >> shift) & 1)) return false;
    if (at === path.dirname(at)) return true;
  }
}
