import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { StartupError } from '../config/startup-error.js';

/**
 * Makes this process the only Berth on a home directory until it ends, however it ends.
 *
 * Node has no file locks of its own; SQLite, which it brings along, takes one that the system drops with the process,
 * that is not inherited by children, and that two processes cannot both get. Nothing is stored in the file.
 * @returns what gives the lock back.
 * @throws StartupError when another process has it.
 */
export async function lockHome(home: string): Promise<() => void> {
  await mkdir(home, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    throw new StartupError(`The directory ${home} cannot be made (${error.code}). Set BERTH_HOME to another one.`);
  });
  const file = path.join(home, 'lock');
  try {
    const lock = new DatabaseSync(file, { timeout: 0 });
    lock.exec('begin exclusive');
    return () => lock.close();
  } catch (error) {
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) {
      throw new StartupError(
        `The file ${file} cannot be opened (${(error as Error).message}): start Berth as the user who made it, or set ` +
          'BERTH_HOME to another directory.',
      );
    }
    throw new StartupError(
      `Another Berth is running on ${home}. Stop it first, or set BERTH_HOME to another directory for this one ` +
        '(and BERTH_PORT to another port). Several servers can share one database: see BERTH_DATABASE_URL.',
    );
  }
}

const SQLITE_BUSY = 5;
