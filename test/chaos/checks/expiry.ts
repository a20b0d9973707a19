import type { FinalRecord, RecordedLease } from '../record.js';
import type { Sign } from '../signs-of-life.js';

/** Two looks at a clock, or at two that tell the same time, may be so far apart, in milliseconds: the machine is busy. */
const TOLERANCE_MS = 200;

/**
 * What contradicts that a lease is its holder's until it has run out, and no longer.
 * @param bootedAt what the times of signs count from, by the clock of the record.
 */
export function checkExpiry(
  { runs, leases }: Pick<FinalRecord, 'runs' | 'leases'>,
  signs: readonly Sign[],
  bootedAt: number,
): string[] {
  const byId = new Map(leases.map((lease) => [lease.id, lease]));
  return [
    ...leases.flatMap(takenEarly),
    ...outlived(signs, byId, bootedAt),
    ...runs.flatMap(({ id, status, leaseId, finishedAt }) => {
      const lease = byId.get(leaseId ?? '');
      // A cancelled one may have been ended by somebody else.
      if (!lease || lease.isReaped || finishedAt === null || status === 'cancelled') return [];
      const lateMs = Math.round(finishedAt - lease.expiresAt);
      return lateMs > TOLERANCE_MS
        ? [`Run ${id} is ${status} by its holder, ${lateMs} ms after its lease ran out`]
        : [];
    }),
  ];
}

/** To the millisecond, as which both are kept: the reaper has read the clock before it ends a lease. */
function takenEarly({ id, isReaped, expiresAt, heldUntil }: RecordedLease): string[] {
  if (!isReaped || heldUntil === null || heldUntil >= expiresAt) return [];
  return [`Lease ${id} was taken from its holder ${Math.round(expiresAt - heldUntil)} ms before it ran out`];
}

/** Whoever is still there when his lease has ended may be beside the next holder. */
function outlived(signs: readonly Sign[], leases: ReadonlyMap<string, RecordedLease>, bootedAt: number): string[] {
  const last = new Map(signs.map(({ leaseId, holder, at }) => [`${leaseId} ${holder}`, { leaseId, holder, at }]));
  return [...last.values()].flatMap(({ leaseId, holder, at }) => {
    const lateMs = Math.round(bootedAt + at * 1000 - (leases.get(leaseId)?.heldUntil ?? Infinity));
    return lateMs > TOLERANCE_MS
      ? [`${holder} gave a sign of life ${lateMs} ms after its lease ${leaseId} had ended`]
      : [];
  });
}
