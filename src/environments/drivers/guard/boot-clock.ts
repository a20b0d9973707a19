import { uptime } from 'node:os';

/**
 * Milliseconds since the machine started, also while it was suspended; every process of the machine reads the same.
 * Linux counts suspended time only in its uptime (to 10 ms); elsewhere the monotonic clock counts it.
 */
export const bootClock = (): number =>
  process.platform === 'linux' ? uptime() * 1000 : Number(process.hrtime.bigint()) / 1e6;
