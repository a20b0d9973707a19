import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { StartupError } from '../../config/startup-error.js';
import type { DatabaseState } from './database-state.js';

/** What was last known of the database. Kept outside it, so that a restore does not take it back, too. */
export type DatabaseMark = Pick<
  DatabaseState,
  'epoch' | 'systemIdentifier' | 'timeline' | 'databaseOid' | 'walPosition' | 'highestToken'
>;

/** Next to the embedded database's directory, not in it. */
export const markFile = (home: string): string => path.join(home, 'database-mark.json');

/**
 * @returns null where none was written yet.
 * @throws StartupError when it says nothing that can be compared.
 */
export async function readMark(file: string): Promise<DatabaseMark | null> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw new StartupError(`The file ${file} cannot be read (${error.code}): start Berth as the user who made it.`);
  });
  if (text === null) return null;
  const mark = parsed(text);
  if (mark) return mark;
  throw new StartupError(
    `The file ${file} is damaged: Berth compares the database with it, to notice that it was restored. Remove the file; ` +
      'if the database was restored, set BERTH_RESTORED=1 for the next start.',
  );
}

/** The mark as it is after a state that was seen; what was given out is never forgotten. */
export function markOf(state: DatabaseState, before: DatabaseMark | null): DatabaseMark {
  const { epoch, systemIdentifier, timeline, databaseOid, walPosition } = state;
  const highestToken = Math.max(state.highestToken, before?.highestToken ?? 0);
  return { epoch, systemIdentifier, timeline, databaseOid, walPosition, highestToken };
}

/** Replaces the file in one step: whoever reads, or comes after a crash, finds the old mark or the new one. */
export async function writeMark(file: string, mark: DatabaseMark): Promise<void> {
  const partial = `${file}.${randomBytes(4).toString('hex')}`;
  await mkdir(path.dirname(file), { recursive: true });
  try {
    const handle = await open(partial, 'wx', 0o600);
    await handle
      .writeFile(`${JSON.stringify(mark, null, 2)}\n`)
      .then(() => handle.sync())
      .finally(() => handle.close());
    await rename(partial, file);
  } catch (error) {
    await rm(partial, { force: true }).catch(() => undefined);
    throw error;
  }
}

function parsed(text: string): DatabaseMark | null {
  try {
    const mark = JSON.parse(text) as DatabaseMark;
    const isMark = typeof mark.epoch === 'string' && Number.isSafeInteger(mark.highestToken) && mark.highestToken >= 0;
    return isMark ? mark : null;
  } catch {
    return null;
  }
}
