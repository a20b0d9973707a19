import { StartupError } from '../../config/startup-error.js';
import type { DatabaseMark } from './database-mark.js';
import type { DatabaseState } from './database-state.js';

/** More tokens than anybody can have drawn between two writings of the mark, or since a backup was made. */
const MARGIN = 2 ** 32;

/** Why the database is not what the mark says it was, only further on; null when it may well be. */
export function whyRestored(mark: DatabaseMark, now: DatabaseState): string | null {
  if (now.lastToken < mark.highestToken) {
    return `its last fencing token is ${now.lastToken}, and ${mark.highestToken} had been given out`;
  }
  // Another name of the history with higher tokens: somebody else has noticed, and renewed it, since.
  if (now.epoch !== mark.epoch) return null;
  if (differ(now.systemIdentifier, mark.systemIdentifier)) {
    return `its system identifier is ${now.systemIdentifier}, and was ${mark.systemIdentifier}`;
  }
  if (differ(now.timeline, mark.timeline)) return `it is on timeline ${now.timeline}, and was on ${mark.timeline}`;
  if (differ(now.databaseOid, mark.databaseOid)) {
    return `it was made anew in its cluster (its OID is ${now.databaseOid}, and was ${mark.databaseOid})`;
  }
  if (now.walPosition !== null && mark.walPosition !== null && now.walPosition < mark.walPosition) {
    return `its log ends at byte ${now.walPosition}, and had been written up to ${mark.walPosition}`;
  }
  return null;
}

const differ = <T>(now: T | null, before: T | null) => now !== null && before !== null && now !== before;

/** Whether nothing was ever leased in it, and it is no copy of the one that the mark is of: there is nothing to fear. */
export const isNew = (mark: DatabaseMark, now: DatabaseState) => now.lastToken === 0 && now.epoch !== mark.epoch;

/**
 * The number that tokens go on above, so that none is given out twice.
 * @throws StartupError when there is no room left below what a JSON number holds exactly.
 */
export function tokenFloor(mark: DatabaseMark | null, now: DatabaseState): number {
  const floor = Math.max(mark?.highestToken ?? 0, now.lastToken, now.highestToken) + MARGIN;
  if (floor + MARGIN <= Number.MAX_SAFE_INTEGER) return floor;
  throw new StartupError(
    `The database was restored, and fencing tokens cannot go on above ${floor - MARGIN}: they must stay below 2^53. ` +
      'Check highestToken in database-mark.json in the home of Berth, and the sequence fencing_token.',
  );
}
