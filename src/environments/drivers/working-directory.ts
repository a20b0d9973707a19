import { realpath } from 'node:fs/promises';
import { isAbsolute, join, resolve, sep } from 'node:path';
import { CommandNotStartedError } from './driver-errors.js';
import type { RealisedPlace } from './environment-driver.port.js';

/**
 * The directory in which a command starts: where its path is absolute, the one that somebody chose for it; where it is
 * relative, one within the place's own. Out of a directory that belongs to a single lease no link leads either: what a
 * former holder left there does not decide where the next one works.
 * @throws CommandNotStartedError
 */
export async function workingDirectory(place: RealisedPlace, wanted: string | null): Promise<string> {
  if (wanted === null) return place.cwd;
  if (isAbsolute(wanted)) return wanted;
  const directory = resolve(place.cwd, wanted);
  const belongsToLease = place.providerLeaseId === place.cwd;
  const leadsOut = !isWithin(place.cwd, directory) || (belongsToLease && (await linksOut(place.cwd, directory)));
  if (leadsOut) {
    throw new CommandNotStartedError(
      `The directory "${wanted}" leads out of ${place.cwd}, so nothing was started there`,
    );
  }
  return directory;
}

/** What is not there leads nowhere: the start says so. */
async function linksOut(place: string, directory: string): Promise<boolean> {
  const [from, to] = await Promise.all([place, directory].map((path) => realpath(path).catch(() => null)));
  return from !== null && to !== null && !isWithin(from, to);
}

const isWithin = (outer: string, inner: string) => inner === outer || inner.startsWith(join(outer, sep));
