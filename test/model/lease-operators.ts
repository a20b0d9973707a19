// What operators do, the reaper, the sweeper and the clock.

import { ReapLeases } from '../../src/heartbeat/ending/reap-leases.js';
import { PlaceSweeper } from '../../src/leases/places/place-sweeper.js';
import { isFirst, type Harbour, type Lease, type Place } from './lease-model.js';
import { LeaseStep, pick } from './lease-steps.js';
import type { LeaseWorld } from './lease-world.js';

/** Somebody looks for leases that are over. */
export class Reap extends LeaseStep<Set<string>> {
  override check(model: Readonly<Harbour>): boolean {
    return model.leases.some(({ status }) => status === 'active');
  }

  async act(model: Harbour, world: LeaseWorld, process: number): Promise<Set<string>> {
    const before = model.leases.filter(({ status }) => status === 'active').map(({ id }) => id);
    await world.apps[process].get(ReapLeases).reap();
    const ended = await world.query<{ id: string }>(
      `select id from environment_leases where id = any($1) and status <> 'active'`,
      [before],
    );
    return new Set(ended.map(({ id }) => id));
  }

  follow(model: Harbour, ended: Set<string>): void {
    const now = Date.now();
    const due = model.leases.filter((lease) => lease.status === 'active' && !isStillOn(lease, now));
    // What no run ends with is ended before the runs are, each with what it still holds besides.
    for (const lease of due.sort((a, b) => Number(isFirst(a)) - Number(isFirst(b)))) {
      if (lease.status !== 'active') continue;
      if (model.isCrowded && !ended.has(lease.id)) continue;
      model.end(lease, lease.revokeAt <= now ? 'released' : hadItsTime(lease) ? 'failed' : 'expired');
    }
  }
}

/** A run that was renewed for as long as it could be has timed out; whatever else runs out has expired. */
const hadItsTime = (lease: Lease) => isFirst(lease) && lease.expiresAt >= lease.lifetimeEndsAt;
/** A run's own lease that was revoked is ended by its runner, unless it has run out. */
const isStillOn = (lease: Lease, now: number) => now < lease.expiresAt && (isFirst(lease) || now < lease.revokeAt);

/** Somebody takes down what nobody uses any more, and gives up what is kept for nothing. */
export class Sweep extends LeaseStep<Map<string, Place['state']>> {
  override check(model: Readonly<Harbour>): boolean {
    return model.leases.some(({ place }) => place !== null && place.state !== 'gone');
  }

  async act(_model: Harbour, world: LeaseWorld, process: number): Promise<Map<string, Place['state']>> {
    const before = new Map((await world.places()).map(({ id, state }) => [id, state]));
    const sweeper = world.apps[process].get(PlaceSweeper);
    await sweeper.sweep();
    await sweeper.settled();
    const changed = (await world.places()).filter(({ id, state }) => state !== before.get(id));
    return new Map(changed.map(({ id, state }) => [id, state]));
  }

  follow(model: Harbour, changed: Map<string, Place['state']>): void {
    for (const { place } of model.leases) {
      const state = place && changed.get(place.id);
      if (state !== 'cleaning' && state !== 'gone') continue;
      if (place!.holder.status === 'active' && !model.isCrowded)
        throw new Error(`${place!.id} was taken down while it was used`);
      if (place!.holder.status !== 'active') place!.state = state;
    }
  }
}

/** Time goes by, or the clock is set back. */
export class Clock extends LeaseStep<void> {
  constructor(private readonly sec: number) {
    super();
  }

  act(_model: Harbour, world: LeaseWorld): Promise<void> {
    return world.pass(this.sec);
  }

  follow(model: Harbour): void {
    model.pass(this.sec * 1000);
  }
}

export class SetCapacity extends LeaseStep<number> {
  constructor(
    private readonly index: number,
    private readonly capacity: number | null,
  ) {
    super();
  }

  async act(model: Harbour, world: LeaseWorld): Promise<number> {
    const { id } = pick(model.berths, this.index)!;
    return (await world.api.patch(`/environments/${id}`, { capacity: this.capacity })).status;
  }

  follow(model: Harbour, status: number): void {
    this.expectTold(status, 200);
    pick(model.berths, this.index)!.capacity = this.capacity;
  }
}

type Steering = 'drain' | 'activate' | 'archive';
const STATUS = { drain: 'draining', activate: 'active', archive: 'archived' } as const;

export class Steer extends LeaseStep<number> {
  constructor(
    private readonly index: number,
    private readonly what: Steering,
    private readonly graceSec: number | undefined,
  ) {
    super();
  }

  async act(model: Harbour, world: LeaseWorld): Promise<number> {
    const { id } = pick(model.berths, this.index)!;
    const body = this.what === 'drain' ? { graceSec: this.graceSec } : {};
    return (await world.api.post(`/environments/${id}/${this.what}`, body)).status;
  }

  follow(model: Harbour, status: number): void {
    const berth = pick(model.berths, this.index)!;
    const isRefused = this.what === 'drain' && berth.status === 'archived';
    this.expectTold(status, isRefused ? 409 : 200);
    if (isRefused) return;
    berth.status = STATUS[this.what];
    if (this.what !== 'drain' || this.graceSec === undefined) return;
    for (const lease of model.holding(berth.id)) revoke(lease, this.graceSec);
  }
}

function revoke(lease: Lease, graceSec: number): void {
  if (lease.status === 'active') lease.revokeAt = Math.min(lease.revokeAt, Date.now() + graceSec * 1000);
}

export class Revoke extends LeaseStep<{ id: string; status: number } | null> {
  constructor(
    private readonly index: number,
    private readonly graceSec: number,
  ) {
    super();
  }

  override check(model: Readonly<Harbour>): boolean {
    return model.leases.length > 0;
  }

  async act(model: Harbour, world: LeaseWorld) {
    const lease = pick(model.leases.slice(-6), this.index);
    if (!lease) return null;
    const { status } = await world.api.post('/admin/leases/revoke', { leaseId: lease.id, graceSec: this.graceSec });
    return { id: lease.id, status };
  }

  follow(model: Harbour, told: { id: string; status: number } | null): void {
    if (!told) return;
    this.expectTold(told.status, 200);
    revoke(model.lease(told.id), this.graceSec);
  }
}

/** An operator ends a run with its lease. */
export class Force extends LeaseStep<{ id: string; status: number } | null> {
  constructor(private readonly index: number) {
    super();
  }

  override check(model: Readonly<Harbour>): boolean {
    return model.leases.some(isFirst);
  }

  async act(model: Harbour, world: LeaseWorld) {
    const lease = pick(model.leases.filter(isFirst).slice(-6), this.index);
    if (!lease) return null;
    const { status } = await world.api.post(`/environment-leases/${lease.id}/release`, { force: true });
    return { id: lease.id, status };
  }

  follow(model: Harbour, told: { id: string; status: number } | null): void {
    if (!told) return;
    this.expectTold(told.status, 200);
    const lease = model.lease(told.id);
    if (lease.status === 'active') model.end(lease, 'released');
  }
}
