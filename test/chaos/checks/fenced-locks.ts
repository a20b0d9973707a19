/** A time during which somebody held one of a lock's permits; of which clock or order, its source says. */
export interface Hold {
  readonly lock: string;
  /** Which of the permits, where they are told apart. */
  readonly slot: number | null;
  readonly holder: string;
  readonly token: number;
  readonly from: number;
  /** The end of the hold, which is not part of it; infinite while it lasts. */
  readonly until: number;
}

/**
 * What contradicts a lock that so many may hold at once, each of its slots by one holder at a time, with tokens that rise
 * from holder to holder. With one permit that is an exclusive lock.
 */
export function checkFencedLock(holds: readonly Hold[], permits: number): string[] {
  const inOrder = holds.toSorted((a, b) => a.from - b.from || a.token - b.token);
  return [...tooMany(inOrder, permits), ...bySlot(inOrder, permits).flatMap(outOfTurn)];
}

const called = ({ holder, token, from, until }: Hold) => `${holder} (token ${token}, ${from} to ${until})`;

function tooMany(inOrder: readonly Hold[], permits: number): string[] {
  const violations = [];
  let holding: Hold[] = [];
  for (const hold of inOrder) {
    holding = holding.filter(({ until }) => until > hold.from);
    holding.push(hold);
    if (holding.length > permits) {
      violations.push(`${hold.lock} has ${permits} permits, held at once by ${holding.map(called).join(' and ')}`);
    }
  }
  return violations;
}

/** With one permit, who held it is told apart without a number. */
function bySlot(inOrder: readonly Hold[], permits: number): Hold[][] {
  const slots = Map.groupBy(inOrder, ({ slot }) => (permits === 1 ? 1 : slot));
  slots.delete(null);
  return [...slots.values()];
}

function outOfTurn(inOrder: readonly Hold[]): string[] {
  return inOrder.slice(1).flatMap((hold, index) => {
    const before = inOrder[index];
    return [
      ...(before.until > hold.from
        ? [`${hold.lock} was given to ${called(hold)} while ${called(before)} held it`]
        : []),
      ...(before.token >= hold.token
        ? [`${hold.lock}: the token of ${called(hold)} is not above ${called(before)}`]
        : []),
    ];
  });
}
