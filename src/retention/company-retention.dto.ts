import type { RetentionKind } from './retention-kind.js';
import type { KindRetention } from './company-retention.service.js';

/** How long one kind of thing is kept, and how far back it is complete. */
export class KindRetentionResponse {
  /** In days; null for ever. */
  days: number | null;
  /** Whether the company says so itself; otherwise the instance does. */
  own: boolean;
  /** What ended before this may have been removed; everything that ended since is there. Null while nothing was removed. */
  completeSince: Date | null;
}

/** How long what is kept of a company. */
export class RetentionResponse {
  /** The record of state changes. */
  activity: KindRetentionResponse;
  /** Runs that have ended, with their leases, wakes and logs; reservations; wakes that became no run. */
  runs: KindRetentionResponse;
  /** What runs wrote. */
  runLogs: KindRetentionResponse;

  static from(kinds: Record<RetentionKind, KindRetention>): RetentionResponse {
    const one = (kind: RetentionKind) => ({ ...kinds[kind] });
    return { activity: one('activity'), runs: one('runs'), runLogs: one('runLogs') };
  }
}
