// Who holds what, in plain terms: what Berth has to agree with after every step.

/** How long what is retained after a failure may be taken over, in seconds: no sum of what the clock goes on by. */
export const RETAIN_SEC = 900;

export interface Berth {
  readonly id: string;
  readonly name: string;
  capacity: number | null;
  status: 'active' | 'draining' | 'archived';
  /** Whether its driver makes a place for each lease, and what becomes of one whose holder has succeeded, or failed. */
  readonly places: 'none' | 'warm' | 'warm for its workspace' | 'retained';
}

export interface Workspace {
  readonly id: string;
  readonly isExclusive: boolean;
}

/** What somebody wants to hold. */
export interface Want {
  readonly environmentId: string;
  readonly workspace: Workspace | null;
  /** Since when it waits, in milliseconds. */
  readonly since: number;
}

/** A run that may start as far as the runs themselves decide. */
export interface WaitingRun extends Want {
  readonly id: string;
  readonly retryOf: string | null;
}

/** Somebody who stands in the line. */
export interface Waiter extends Want {
  readonly id: string;
}

type PlaceState = 'realising' | 'in_use' | 'warm' | 'retained' | 'cleaning' | 'gone';

export interface Place {
  readonly id: string;
  state: PlaceState;
  /** Whoever has it, or had it last. */
  holder: Lease;
  /** Up to when what is retained may be taken over. */
  keepUntil?: number;
}

export interface Lease {
  readonly id: string;
  readonly environmentId: string;
  readonly workspace: Workspace | null;
  readonly slot: number | null;
  readonly token: number;
  readonly runId: string | null;
  /** For a run's further lease the one that the run is held by. */
  readonly first: Lease | null;
  readonly ttlMs: number;
  readonly place: Place | null;
  status: 'active' | 'released' | 'failed' | 'expired';
  expiresAt: number;
  lifetimeEndsAt: number;
  /** When an operator wants it ended: a run's first one by its runner, any other by the reaper. */
  revokeAt: number;
}

export type Obstacle = 'environment_draining' | 'workspace_occupied' | 'environment_at_capacity' | 'archived';

export class Harbour {
  leases: Lease[] = [];
  waiting: WaitingRun[] = [];
  line: Waiter[] = [];
  /** Several act at once: whoever finds something held by another's transaction may pass it over. */
  isCrowded = false;

  constructor(readonly berths: Berth[]) {}

  berth(id: string): Berth {
    return this.berths.find((berth) => berth.id === id)!;
  }

  lease(id: string): Lease {
    return this.leases.find((lease) => lease.id === id)!;
  }

  /** Leases that hold room there: the active ones, and those whose place is left. */
  holding(environmentId: string): Lease[] {
    return this.leases.filter((lease) => lease.environmentId === environmentId && holds(lease));
  }

  occupied({ workspace }: Want): boolean {
    return (
      workspace?.isExclusive === true &&
      this.leases.some((lease) => lease.status === 'active' && lease.workspace?.id === workspace.id)
    );
  }

  /** How many in the line wait for room there for longer. */
  ahead({ environmentId, since }: Want): number {
    return this.line.filter((one) => one.environmentId === environmentId && one.since < since && !this.occupied(one))
      .length;
  }

  /** What keeps somebody outside from getting what he wants. */
  obstacle(want: Want): Obstacle | null {
    const { status, capacity } = this.berth(want.environmentId);
    if (status !== 'active') return status === 'archived' ? 'archived' : 'environment_draining';
    if (this.occupied(want) || this.isBehindInWorkspace(want)) return 'workspace_occupied';
    const taken = this.holding(want.environmentId).length + this.ahead(want);
    return capacity !== null && taken >= capacity ? 'environment_at_capacity' : null;
  }

  canStart(run: WaitingRun): boolean {
    if (this.berth(run.environmentId).status !== 'active' || this.occupied(run) || this.isBehindInWorkspace(run))
      return false;
    return this.hasRoom(run) || this.keptFor(run).length > 0;
  }

  hasRoom(want: Want): boolean {
    const { capacity } = this.berth(want.environmentId);
    return capacity === null || this.holding(want.environmentId).length + this.ahead(want) < capacity;
  }

  /** What is kept there and may be taken over, each with its room: nothing where more is held than there is room for. */
  keptFor(run: WaitingRun): Lease[] {
    const { capacity, places } = this.berth(run.environmentId);
    const holding = this.holding(run.environmentId);
    if (capacity !== null && holding.length > capacity) return [];
    return holding.filter(({ place, runId, workspace }) => {
      if (place?.state === 'retained') return runId === run.retryOf && Date.now() < place.keepUntil!;
      const fits = places === 'warm' || workspace?.id === run.workspace?.id;
      // Where there is room for everybody nobody waits for it.
      return place?.state === 'warm' && fits && (capacity === null || this.ahead(run) === 0);
    });
  }

  /** Something there is in the way of others without holding anything: a pass may be spent on it. */
  isShadowing(run: WaitingRun): boolean {
    const { status, capacity } = this.berth(run.environmentId);
    const holding = this.holding(run.environmentId);
    return status === 'archived' || (capacity !== null && holding.some(({ place }) => place?.state === 'warm'));
  }

  /** A warm place gives way to whoever comes and does not fit, or has others before him: only where there is no room. */
  mayGiveWay({ holder: { environmentId } }: Place): boolean {
    const { capacity } = this.berth(environmentId);
    const wanted = this.ahead({ environmentId, workspace: null, since: Infinity });
    // Where several act at once there may be room again since, or no limit any more.
    return this.isCrowded || (capacity !== null && this.holding(environmentId).length + wanted >= capacity);
  }

  /** @throws Error when that cannot have been acquired. */
  acquire(lease: Lease): void {
    const { capacity } = this.berth(lease.environmentId);
    const holding = this.holding(lease.environmentId);
    if (lease.first && lease.first.status !== 'active') throw new Error(`${lease.id} is of a run that has ended`);
    if ((lease.slot === null) !== (capacity === null)) throw new Error(`${lease.id} has slot ${lease.slot}`);
    if (capacity !== null && holding.length >= capacity) throw new Error(`${lease.id} is one more than ${capacity}`);
    if (lease.slot !== null && (lease.slot > capacity! || holding.some(({ slot }) => slot === lease.slot)))
      throw new Error(`${lease.id} has slot ${lease.slot}, which is held or is none of ${capacity}`);
    if (this.leases.some((before) => isAfter(before, lease) && before.token >= lease.token))
      throw new Error(`${lease.id} has token ${lease.token}, which is not above those before it`);
    this.leases.push(lease);
  }

  /** Ends an active lease, and with a run's first one its further ones. */
  end(lease: Lease, status: Lease['status'], succeeded = false): void {
    for (const one of this.leases) {
      if (one.status !== 'active' || (one !== lease && one.first !== lease)) continue;
      one.status = status;
      if (!one.place) continue;
      one.place.state = this.leftAs(one.place, succeeded);
      one.place.keepUntil = Date.now() + RETAIN_SEC * 1000;
    }
  }

  /** Renews it from now on. A run's own that was revoked is renewed until its runner has ended the run. */
  extend(lease: Lease, now: number): void {
    const revokeAt = isFirst(lease) ? Infinity : lease.revokeAt;
    lease.expiresAt = Math.max(lease.expiresAt, Math.min(lease.lifetimeEndsAt, revokeAt, now + lease.ttlMs));
  }

  isHeld(lease: Lease, now: number): boolean {
    return lease.status === 'active' && now < lease.expiresAt;
  }

  /** The same, for one that is nobody's run's own. */
  isHeldOutside(lease: Lease, now: number): boolean {
    return this.isHeld(lease, now) && now < lease.revokeAt;
  }

  /** The clock goes on, or is set back. */
  pass(ms: number): void {
    for (const lease of this.leases) {
      lease.expiresAt -= ms;
      lease.lifetimeEndsAt -= ms;
      lease.revokeAt -= ms;
    }
    for (const place of new Set(this.leases.map((lease) => lease.place))) if (place?.keepUntil) place.keepUntil -= ms;
  }

  copy(): Harbour {
    return Object.setPrototypeOf(structuredClone({ ...this }), Harbour.prototype) as Harbour;
  }

  private isBehindInWorkspace({ workspace, since }: Want): boolean {
    return (
      workspace?.isExclusive === true &&
      this.line.some((one) => one.workspace?.id === workspace.id && one.since < since)
    );
  }

  private leftAs(place: Place, succeeded: boolean): PlaceState {
    const { places, status } = this.berth(place.holder.environmentId);
    if (place.state !== 'in_use') return 'cleaning';
    if (places.startsWith('warm') && succeeded && status === 'active') return 'warm';
    return places === 'retained' && ['failed', 'expired'].includes(place.holder.status) ? 'retained' : 'cleaning';
  }
}

/** While it is active, and after that until its place has gone or was handed on. */
export const holds = (lease: Lease): boolean =>
  lease.status === 'active' || (lease.place !== null && lease.place.holder === lease && lease.place.state !== 'gone');

/** Whether a run is held by it. */
export const isFirst = ({ runId, first }: Lease): boolean => runId !== null && first === null;

/** Whether the later lease holds the slot, or the exclusive workspace, of the one before. */
const isAfter = (before: Lease, { environmentId, slot, workspace }: Lease) =>
  (slot !== null && before.environmentId === environmentId && before.slot === slot) ||
  (workspace?.isExclusive === true && before.workspace?.id === workspace.id);
