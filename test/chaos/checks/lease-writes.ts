import type { Operation } from '../history.js';

interface LeaseValue {
  readonly lock: string;
  readonly slot: number;
  readonly token: number;
}

const WRITES = new Set(['renew', 'release']);

/**
 * What contradicts the fence: a write that was accepted though it began after its lease was released, or after somebody
 * with a higher token was known to have the slot.
 */
export function checkLeaseWrites(operations: readonly Operation[]): string[] {
  const violations: string[] = [];
  const released = new Set<number>();
  const highest = new Map<string, number>();
  /** By process: of the write that is under way, whether its lease was over when it began. */
  const began = new Map<number, string | null>();
  for (const { process, type, f, value } of operations) {
    const { lock, slot, token } = value as LeaseValue;
    const where = `${lock} slot ${slot}`;
    if (f === 'acquire' && type === 'ok') {
      const before = highest.get(where) ?? 0;
      if (token <= before) violations.push(`${where} was given with token ${token} after token ${before}`);
      highest.set(where, Math.max(token, before));
    }
    if (!WRITES.has(f)) continue;
    if (type === 'invoke') began.set(process, whyOver(released.has(token), highest.get(where) ?? 0, token));
    const over = began.get(process);
    // A release may be repeated: it changes nothing.
    if (type === 'ok' && over && !(f === 'release' && released.has(token))) {
      violations.push(`A ${f} of ${where} with token ${token} was accepted, ${over}`);
    }
    if (type === 'ok' && f === 'release') released.add(token);
  }
  return violations;
}

function whyOver(isReleased: boolean, highest: number, token: number): string | null {
  if (isReleased) return 'though it had been released';
  return highest > token ? `though token ${highest} had been given out` : null;
}
