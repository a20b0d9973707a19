/** Whatever the other side asks for, a day is enough. */
const MAX_WAIT_MS = 86_400_000;

/**
 * When the other side wants to be asked again, within the day to come.
 * @param time in milliseconds since 1970; NaN for what was no time.
 * @returns ISO 8601, or null where it said nothing of use.
 */
export function retryTime(time: number, now: number = Date.now()): string | null {
  if (Number.isNaN(time) || time <= now) return null;
  return new Date(Math.min(time, now + MAX_WAIT_MS)).toISOString();
}
