// What runs and their runners do.

import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import { RenewLeases } from '../../src/leases/renew-leases.js';
import { SettlePlaces } from '../../src/leases/places/settle-places.js';
import { outcome } from '../support/still-app.js';
import type { Harbour, Lease } from './lease-model.js';
import { LeaseStep, pick } from './lease-steps.js';
import type { LeaseRow, LeaseWorld } from './lease-world.js';

export class Wake extends LeaseStep<number> {
  constructor(
    private readonly agent: number,
    private readonly spot: number,
  ) {
    super();
  }

  act(_model: Harbour, world: LeaseWorld): Promise<number> {
    return world.wake(this.agent, world.spots[this.spot]);
  }

  follow(_model: Harbour, status: number): void {
    this.expectTold(status, 202);
  }
}

interface Started {
  run: ClaimedRun;
  row: LeaseRow;
  retryOf: string | null;
  dueAt: Date;
}

/** A free slot of a runner looks for something to do. */
export class Dispatch extends LeaseStep<Started | null> {
  async act(_model: Harbour, world: LeaseWorld, process: number): Promise<Started | null> {
    const run = await world.steps[process].dispatch();
    if (!run) return null;
    world.executing.push(run);
    const [{ retry_of_run_id: retryOf, due_at: dueAt }] = await world.query<{ retry_of_run_id: string; due_at: Date }>(
      'select retry_of_run_id, due_at from heartbeat_runs where id = $1',
      [run.id],
    );
    return { run, row: await world.row(run.lease.id), retryOf, dueAt };
  }

  follow(model: Harbour, started: Started | null, world: LeaseWorld): void {
    if (!started) {
      if (model.isCrowded || model.waiting.some((run) => model.isShadowing(run))) return;
      const missed = model.waiting.find((run) => model.canStart(run));
      if (missed) throw new Error(`${missed.id} could have been started`);
      return;
    }
    const { run, row, retryOf, dueAt } = started;
    const lease = world.leaseOf(model, row);
    const waiting = { ...lease, id: run.id, retryOf, since: dueAt.getTime() };
    if (!model.canStart(waiting)) throw new Error(`${run.id} could not have been started`);
    const kept = model.keptFor(waiting).find(({ place }) => place!.id === row.place_id);
    if (!kept && !model.hasRoom(waiting)) throw new Error(`${run.id} was started without room`);
    if (kept) takeOver(lease, kept);
    model.acquire(lease);
    model.waiting = model.waiting.filter(({ id }) => id !== run.id);
  }
}

function takeOver(lease: Lease, kept: Lease): void {
  const place = kept.place!;
  Object.assign(lease, { place });
  Object.assign(place, { state: 'in_use', holder: lease });
}

/** The driver has made a run's place. */
export class MakePlace extends LeaseStep<{ run: ClaimedRun; ready: boolean } | null> {
  /** @param index the newest being the first. */
  constructor(private readonly index: number) {
    super();
  }

  override check(model: Readonly<Harbour>): boolean {
    return model.leases.some(({ status, place }) => status === 'active' && place !== null);
  }

  async act(_model: Harbour, world: LeaseWorld, process: number) {
    const making = world.executing.filter(({ place }) => place && !place.takenOver);
    const run = pick(making.toReversed(), this.index);
    if (!run) return null;
    return { run, ready: await world.apps[process].get(SettlePlaces).ready(run.place!.id, run.lease, 'a directory') };
  }

  follow(model: Harbour, told: { run: ClaimedRun; ready: boolean } | null): void {
    if (!told) return;
    const lease = model.lease(told.run.lease.id);
    const isHeld = model.isHeld(lease, Date.now());
    const place = lease.place!;
    // Somebody else may have it by now.
    this.expectTold(told.ready, isHeld || (place.holder === lease && place.state === 'in_use'));
    if (isHeld) place.state = 'in_use';
  }
}

/** A runner renews all that it executes, with one statement. */
export class Heartbeat extends LeaseStep<{ asked: string[]; lost: Set<string> }> {
  override check(model: Readonly<Harbour>): boolean {
    return model.leases.some(({ status, runId }) => status === 'active' && runId !== null);
  }

  async act(_model: Harbour, world: LeaseWorld, process: number) {
    const leases = world.executing.map(({ lease }) => lease);
    const lost = await world.apps[process].get(RenewLeases).renew(leases, 500);
    return { asked: leases.map(({ id }) => id), lost };
  }

  follow(model: Harbour, { asked, lost }: { asked: string[]; lost: Set<string> }): void {
    for (const lease of asked.map((id) => model.lease(id))) {
      this.expectTold(lost.has(lease.id), !model.isHeld(lease, Date.now()));
      if (!lost.has(lease.id)) model.extend(lease, Date.now());
    }
  }
}

const OUTCOMES = {
  succeeded: () => outcome.succeeded('The anchor holds.'),
  failed: outcome.failed,
  transient: outcome.transient,
  'timed out': outcome.timedOut,
  'shut down': outcome.shutDown,
};
export type Outcome = keyof typeof OUTCOMES;
const LEFT: Record<Outcome, Lease['status']> = {
  ...{ succeeded: 'released', failed: 'failed', transient: 'failed', 'timed out': 'failed', 'shut down': 'released' },
};

/** A run is over, and whoever executed it says so; also a runner that was taken to be dead. */
export class Finish extends LeaseStep<{ run: ClaimedRun; ended: boolean } | null> {
  constructor(
    private readonly index: number,
    private readonly outcome: Outcome,
    private readonly late: boolean,
  ) {
    super();
  }

  override check(model: Readonly<Harbour>): boolean {
    return this.late || model.leases.some(({ status, runId }) => status === 'active' && runId !== null);
  }

  async act(_model: Harbour, world: LeaseWorld, process: number) {
    const run = pick((this.late ? world.lost : world.executing).toReversed(), this.index);
    return run ? { run, ended: await world.steps[process].end(run, OUTCOMES[this.outcome]()) } : null;
  }

  follow(model: Harbour, told: { run: ClaimedRun; ended: boolean } | null, world: LeaseWorld): void {
    if (!told) return;
    const { run, ended } = told;
    const lease = model.lease(run.lease.id);
    this.expectTold(ended, model.isHeld(lease, Date.now()));
    if (ended) {
      const isWished = lease.revokeAt <= Date.now();
      model.end(lease, isWished ? 'released' : LEFT[this.outcome], !isWished && this.outcome === 'succeeded');
    }
    if (!this.late) world.executing = world.executing.filter((one) => one !== run);
  }
}

/** A runner dies with all that it executes. Nobody is told. */
export class Crash extends LeaseStep<void> {
  override check(model: Readonly<Harbour>): boolean {
    return model.leases.some(({ status, runId }) => status === 'active' && runId !== null);
  }

  async act(_model: Harbour, world: LeaseWorld): Promise<void> {
    world.lost.push(...world.executing.splice(0));
  }

  follow(): void {}
}
