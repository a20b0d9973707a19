import type { FinalRecord } from '../record.js';

/** How long after the look at the lease the time of the end may be read, in milliseconds: the machine is busy. */
const TOLERANCE_MS = 200;

/** What contradicts that a holder's word on how a run ended counts only until its lease has run out. */
export function checkLateEnds({ runs, leases }: Pick<FinalRecord, 'runs' | 'leases'>): string[] {
  const byId = new Map(leases.map((lease) => [lease.id, lease]));
  return runs.flatMap(({ id, status, leaseId, finishedAt }) => {
    const lease = byId.get(leaseId ?? '');
    // What was cancelled, or has expired, may have been ended by somebody else.
    if (!lease || finishedAt === null || status === 'cancelled' || lease.status === 'expired') return [];
    const lateMs = Math.round(finishedAt - lease.expiresAt);
    return lateMs > TOLERANCE_MS ? [`Run ${id} is ${status} by its holder, ${lateMs} ms after its lease ran out`] : [];
  });
}
