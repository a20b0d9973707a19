import type { Operation } from '../history.js';

interface LeaseValue {
  readonly lock: string;
  readonly slot: number;
  readonly token: number;
}

const WRITES = new Set(['renew', 'release']);

/**
 * What contradicts the fence: a write that was accepted though it began after its lease was released, or after somebody
 * with a higher token was known to have the slot; and a slot given out with a lower token than was known by then.
 */
export function checkLeaseWrites(operations: readonly Operation[]): string[] {
  const violations: string[] = [];
  const released = new Set<number>();
  const highest = new Map<string, number>();
  /** By process, of what is under way: what was known when it began. */
  const began = new Map<number, Known>();
  for (const { process, type, f, value } of operations) {
    if (f !== 'acquire' && !WRITES.has(f)) continue;
    if (type === 'invoke') began.set(process, { released: new Set(released), highest: new Map(highest) });
    if (type !== 'ok') continue;
    const known = began.get(process) ?? NOTHING;
    const violation =
      f === 'acquire' ? whyNotGiven(value as LeaseValue, known) : whyNotTaken(f, value as LeaseValue, known);
    if (violation) violations.push(violation);
    const { token } = value as LeaseValue;
    if (f === 'release') released.add(token);
    const where = slotOf(value as LeaseValue);
    if (f === 'acquire') highest.set(where, Math.max(token, highest.get(where) ?? 0));
  }
  return violations;
}

/** What was settled at a moment: tokens whose lease had been released, and the highest that was given out, by slot. */
interface Known {
  readonly released: ReadonlySet<number>;
  readonly highest: ReadonlyMap<string, number>;
}
const NOTHING: Known = { released: new Set(), highest: new Map() };

const slotOf = ({ lock, slot }: LeaseValue) => `${lock} slot ${slot}`;

function whyNotGiven(value: LeaseValue, { highest }: Known): string | null {
  const before = highest.get(slotOf(value)) ?? 0;
  return value.token > before ? null : `${slotOf(value)} was given with token ${value.token} after token ${before}`;
}

/** A release may be repeated: that changes nothing. */
function whyNotTaken(f: string, value: LeaseValue, { released, highest }: Known): string | null {
  const { token } = value;
  const what = `A ${f} of ${slotOf(value)} with token ${token} was accepted`;
  if (released.has(token)) return f === 'release' ? null : `${what}, though it had been released`;
  const above = highest.get(slotOf(value)) ?? 0;
  return above > token ? `${what}, though token ${above} had been given out` : null;
}
