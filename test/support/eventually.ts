import { setTimeout as delay } from 'node:timers/promises';

const PAUSE_MS = 20;

/**
 * Looks again and again until what it sees fits.
 * @throws Error with what it saw last, when that does not fit within the time.
 */
export async function eventually<T>(look: () => Promise<T>, fits: (seen: T) => boolean, withinMs = 10_000): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const seen = await look();
    if (fits(seen)) return seen;
    if (performance.now() > deadline) throw new Error(`It did not happen in time; last seen: ${JSON.stringify(seen)}`);
    await delay(PAUSE_MS);
  }
}
