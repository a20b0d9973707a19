// What those outside do who want leases, and who hold them.

import { LOCAL_OPERATOR } from '../../src/events/actor.js';
import { runInScope } from '../../src/events/request-scope.js';
import { GrantLease } from '../../src/heartbeat/reserving/grant-lease.js';
import { LeaseRequests } from '../../src/heartbeat/reserving/lease-requests.js';
import { ObstructedError, UnusableTargetError } from '../../src/heartbeat/reserving/reserving-errors.js';
import { LeaseLostError, SlotTakenError, WorkspaceOccupiedError } from '../../src/leases/lease-errors.js';
import { LeasesService } from '../../src/leases/leases.service.js';
import type { Harbour, Lease, Want } from './lease-model.js';
import { LeaseStep, pick } from './lease-steps.js';
import type { LeaseRow, LeaseWorld } from './lease-world.js';

type Granted = LeaseRow | string;

/** Somebody outside, or a run that wants to hold something besides, asks for a lease. */
abstract class Asking extends LeaseStep<Granted> {
  /** @throws Error when it was answered as it cannot have been. */
  protected grant(model: Harbour, want: Want, granted: Granted, world: LeaseWorld): boolean {
    const obstacle = model.obstacle(want);
    if (typeof granted === 'string') {
      this.expectTold(granted, obstacle);
      return false;
    }
    if (obstacle !== null) throw new Error(`${this.toString()} was granted in spite of ${obstacle}`);
    model.acquire(world.leaseOf(model, granted));
    return true;
  }
}

const REFUSED: Record<string, string> = { environment_archived: 'archived' };

export class Ask extends Asking {
  constructor(
    private readonly spot: number,
    /** Of a run that is executed: which; null for somebody outside. */
    private readonly by: number | null,
  ) {
    super();
  }

  async act(_model: Harbour, world: LeaseWorld): Promise<Granted> {
    const { environmentId, workspace } = world.spots[this.spot];
    const run = this.by === null ? undefined : pick(world.executing, this.by);
    const body = { environmentId, executionWorkspaceId: workspace?.id, holder: 'backup', heartbeatRunId: run?.id };
    const path = `/companies/${world.companyId}/environment-leases`;
    const answer = await world.api.post<{ id: string; code: string }>(path, body);
    if (answer.status === 201) return world.row(answer.body.id);
    return REFUSED[answer.body.code] ?? answer.body.code;
  }

  follow(model: Harbour, granted: Granted, world: LeaseWorld): void {
    // A run that has ended, or whose lease has run out, holds nothing more.
    if (granted === 'run_not_running' && this.by !== null) return;
    // Since the clock was set back, those who wait may seem to have come later.
    this.grant(model, { ...world.spots[this.spot], since: Date.now() }, granted, world);
  }
}

/** Somebody outside begins to wait. */
export class StandInLine extends LeaseStep<void> {
  constructor(private readonly spot: number) {
    super();
  }

  async act(_model: Harbour, world: LeaseWorld, process: number): Promise<void> {
    await world.apps[process].get(LeaseRequests).begin(wish(world, this.spot), 3600);
  }

  follow(): void {}
}

const wish = (world: LeaseWorld, spot: number) => ({
  companyId: world.companyId,
  environmentId: world.spots[spot].environmentId,
  executionWorkspaceId: world.spots[spot].workspace?.id ?? null,
  ...{ heartbeatRunId: null, holder: 'waiter', ttlSec: 500, metadata: {} },
});

/** One of those who wait tries his luck. */
export class TryInLine extends Asking {
  constructor(private readonly index: number) {
    super();
  }

  override check(model: Readonly<Harbour>): boolean {
    return model.line.length > 0;
  }

  async act(model: Harbour, world: LeaseWorld, process: number): Promise<Granted> {
    const waiter = pick(model.line, this.index);
    if (!waiter) return 'nobody';
    const spot = world.spots.findIndex(
      ({ environmentId, workspace }) =>
        environmentId === waiter.environmentId && workspace?.id === waiter.workspace?.id,
    );
    const place = { id: waiter.id, since: new Date(waiter.since) };
    try {
      const lease = await runInScope({ actor: LOCAL_OPERATOR, requestId: null }, () =>
        world.apps[process].get(GrantLease).grant(wish(world, spot), place),
      );
      return await world.row(lease.id);
    } catch (error) {
      return refusal(error);
    }
  }

  follow(model: Harbour, granted: Granted, world: LeaseWorld): void {
    const waiter = pick(model.line, this.index);
    if (!waiter || granted === 'nobody') return;
    if (this.grant(model, waiter, granted, world)) model.line = model.line.filter((one) => one !== waiter);
  }
}

function refusal(error: unknown): string {
  if (error instanceof ObstructedError) return error.obstacle;
  if (error instanceof UnusableTargetError) return REFUSED[error.code];
  if (error instanceof WorkspaceOccupiedError) return 'workspace_occupied';
  if (error instanceof SlotTakenError) return 'environment_at_capacity';
  throw error;
}

/** Somebody who waits goes away. */
export class LeaveLine extends LeaseStep<void> {
  constructor(private readonly index: number) {
    super();
  }

  override check(model: Readonly<Harbour>): boolean {
    return model.line.length > 0;
  }

  async act(model: Harbour, world: LeaseWorld): Promise<void> {
    const waiter = pick(model.line, this.index);
    if (waiter) await world.apps[0].get(LeaseRequests).leave({ id: waiter.id, since: new Date(waiter.since) });
  }

  follow(model: Harbour): void {
    const waiter = pick(model.line, this.index);
    model.line = model.line.filter((one) => one !== waiter);
  }
}

const isOutside = ({ runId, first }: Readonly<Lease>) => runId === null || first !== null;

/** A holder outside renews or releases, with his token, with a former one, or as an operator without. */
export class Write extends LeaseStep<{ id: string; written: boolean } | null> {
  constructor(
    private readonly index: number,
    private readonly what: 'renew' | 'release',
    private readonly showing: 'token' | 'stale' | 'none',
  ) {
    super();
  }

  override check(model: Readonly<Harbour>): boolean {
    return model.leases.some(isOutside);
  }

  async act(model: Harbour, world: LeaseWorld, process: number) {
    // Those of runs are their runners' to renew.
    const lease = pick(model.leases.filter(isOutside).slice(-6), this.index);
    if (!lease) return null;
    const token = { token: lease.token, stale: lease.token - 1, none: undefined }[this.showing];
    const service = world.apps[process].get(LeasesService);
    const write = () =>
      this.what === 'renew' ? service.renew(lease.id, null, token) : service.release(lease.id, null, token);
    return runInScope({ actor: LOCAL_OPERATOR, requestId: null }, () => write())
      .then(() => ({ id: lease.id, written: true }))
      .catch((error: unknown) => {
        if (error instanceof LeaseLostError) return { id: lease.id, written: false };
        throw error;
      });
  }

  follow(model: Harbour, told: { id: string; written: boolean } | null): void {
    if (!told) return;
    const lease = model.lease(told.id);
    const isHeld = model.isHeldOutside(lease, Date.now());
    const mayRelease = this.showing === 'none' || isHeld || lease.status === 'released';
    const may = this.showing !== 'stale' && (this.what === 'renew' ? isHeld : mayRelease);
    this.expectTold(told.written, may);
    if (!may) return;
    if (this.what === 'renew') model.extend(lease, Date.now());
    else if (lease.status === 'active') model.end(lease, 'released');
  }
}
