import { execFile } from 'node:child_process';
import { chmod, lstat, mkdir } from 'node:fs/promises';
import { basename, dirname, isAbsolute, normalize } from 'node:path';
import { promisify } from 'node:util';
import { PlaceUnavailableError } from './driver-errors.js';

const run = promisify(execFile);

/** What taking a lease's own directory down needs: the directory ends in the place's name, so that it is no other. */
export interface DirectoryFacts {
  readonly placeId: string;
  readonly directory: string;
}

const PLACE_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** @throws Error where the facts could name anything else than the directory of one place. */
export function directoryIn(facts: Record<string, unknown>): string {
  const { placeId, directory } = facts as Partial<Record<keyof DirectoryFacts, unknown>>;
  const isOwn =
    typeof placeId === 'string' &&
    PLACE_ID.test(placeId) &&
    typeof directory === 'string' &&
    isAbsolute(directory) &&
    normalize(directory) === directory &&
    basename(directory) === placeId;
  if (!isOwn) throw new Error(`These are not the facts of a place's directory: ${JSON.stringify(facts)}`);
  return directory;
}

/** Makes the directory, for its owner alone; what a former holder left in it stays. */
export async function makeDirectory(directory: string): Promise<void> {
  await mkdir(dirname(directory), { recursive: true });
  await mkdir(directory, { mode: 0o700 }).catch(async (error: NodeJS.ErrnoException) => {
    // A link with its name would lead somebody out of it, and leave there what nobody takes down.
    if (error.code !== 'EEXIST' || !(await lstat(directory)).isDirectory()) throw error;
  });
  await chmod(directory, 0o700);
}

/**
 * Removes the directory with all that is in it, and follows no link out of it. By the system's own `rm`: it copes with
 * trees of any size and depth, beside this process, and can be stopped.
 */
export async function removeDirectory(directory: string, signal: AbortSignal): Promise<'removed' | 'absent'> {
  signal.throwIfAborted();
  if (!(await isThere(directory))) return 'absent';
  try {
    await rm(directory, signal);
  } catch (error) {
    signal.throwIfAborted();
    if (!(await lstat(directory)).isDirectory()) throw error;
    // Programs leave directories that not even their owner may write in (package caches do).
    await run('chmod', ['-R', 'u+rwx', '--', directory], { signal }).catch(() => undefined);
    await rm(directory, signal);
  }
  return 'removed';
}

const rm = (directory: string, signal: AbortSignal) =>
  run('rm', ['-rf', '--', directory], { signal, env: { PATH: process.env.PATH, LC_ALL: 'C' } });

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return false;
    throw error;
  }
}

/** @throws PlaceUnavailableError instead of what the operating system says. */
export async function orUnavailable(directory: string, making: Promise<unknown>): Promise<void> {
  try {
    await making;
  } catch (error) {
    throw new PlaceUnavailableError(`The directory ${directory} could not be made ready: ${(error as Error).message}`);
  }
}
