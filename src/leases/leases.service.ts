import { Injectable, type OnModuleInit } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { assertCompanyAccess } from '../auth/access.js';
import { OwnedThings } from '../auth/owned-things.js';
import { CompaniesService } from '../companies/companies.service.js';
import { EntityRows, heldTo, type Condition, type RowOf } from '../database/entity-rows.js';
import { idFromCursor, MAX_PAGE, type Page, type PageRequest } from '../database/page.js';
import { inTransaction } from '../database/transaction.js';
import { EnvironmentsService } from '../environments/environments.service.js';
import { InvalidInputError, NotFoundError } from '../errors/domain-error.js';
import { DomainEvents } from '../events/domain-events.js';
import { currentActor } from '../events/request-scope.js';
import { EndLeases } from './end-leases.js';
import { EnvironmentLease, type ShownLeaseStatus } from './environment-lease.entity.js';
import { FencingTokenRequiredError, HistoryRemovedError, LeaseLostError, OtherRunsLeaseError } from './lease-errors.js';
import { LeaseMetadataChanged } from './leases.events.js';
import { RenewLeases } from './renew-leases.js';

/** Which leases a list shows. */
export interface LeaseFilter extends PageRequest {
  readonly status?: ShownLeaseStatus;
  readonly environmentId?: string;
  readonly runId?: string;
  /** Only what was held at this time: ISO 8601 with a zone. */
  readonly asOf?: string;
}

const NOT_SHOWN = ['workspaceMode', 'runLeaseId', 'revokeAt', 'revokeReason'] as const;
const LEASES = new EntityRows(EnvironmentLease, NOT_SHOWN);

/** A lease as lists show it. */
export type LeaseRow = RowOf<EnvironmentLease, (typeof NOT_SHOWN)[number]>;

/** Most bytes of a lease's metadata, as JSON. */
const MAX_METADATA_BYTES = 65_536;

/** What is asked of leases one at a time; how they begin and end in numbers is in the files named for it. */
@Injectable()
export class LeasesService implements OnModuleInit {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly companies: CompaniesService,
    private readonly environments: EnvironmentsService,
    private readonly renewals: RenewLeases,
    private readonly ends: EndLeases,
    private readonly things: OwnedThings,
  ) {}

  onModuleInit(): void {
    this.things.register('environment-leases', (id) => this.require(id));
  }

  /** A company's leases, newest first. */
  async ofCompany(companyId: string, filter: LeaseFilter): Promise<Page<LeaseRow>> {
    await this.companies.assertExists(companyId);
    return this.list(companyId, filter);
  }

  /** An environment's leases, newest first. */
  async ofEnvironment(environmentId: string, filter: LeaseFilter): Promise<Page<LeaseRow>> {
    const { companyId } = await this.environments.require(environmentId);
    return this.list(companyId, { ...filter, environmentId });
  }

  /** A run's leases, newest first; the caller has checked that it may see the run. */
  async ofRun(companyId: string, runId: string): Promise<LeaseRow[]> {
    return (await this.list(companyId, { runId })).items;
  }

  /** @throws NotFoundError */
  async require(leaseId: string): Promise<EnvironmentLease> {
    const lease = await this.em.findOne(EnvironmentLease, leaseId);
    if (!lease) throw new NotFoundError('Lease');
    assertCompanyAccess(lease.companyId, 'Lease');
    return lease;
  }

  /**
   * Writes keys over those of the lease's metadata; null takes one out.
   * @param fencingToken what the holder was given; only an operator may leave it out.
   * @throws NotFoundError, FencingTokenRequiredError, LeaseLostError, InvalidInputError
   */
  patchMetadata(leaseId: string, patch: Record<string, unknown>, fencingToken?: number): Promise<EnvironmentLease> {
    return inTransaction(this.em, async () => {
      const lease = await this.hold(leaseId, fencingToken);
      lease.mergeMetadata(patch);
      if (Buffer.byteLength(JSON.stringify(lease.metadata)) > MAX_METADATA_BYTES) {
        const message = `must be at most ${MAX_METADATA_BYTES} bytes of JSON in all`;
        throw new InvalidInputError('The metadata of this lease would become too large', [
          { field: 'metadata', message },
        ]);
      }
      await this.events.record(new LeaseMetadataChanged(lease, Object.keys(patch)));
      return lease;
    });
  }

  /**
   * Extends one lease from now on. Changes no state, so nothing is recorded.
   * @param ttlSec in seconds; the lease's own unless given.
   * @throws NotFoundError, FencingTokenRequiredError, LeaseLostError
   */
  async renew(leaseId: string, ttlSec: number | null, fencingToken?: number): Promise<EnvironmentLease> {
    return inTransaction(this.em, async () => {
      const lease = await this.hold(leaseId, fencingToken);
      const held = { id: lease.id, fencingToken: lease.fencingToken };
      const lost = await this.renewals.renew([held], ttlSec);
      if (lost.has(leaseId)) throw new LeaseLostError(leaseId);
      return this.em.refreshOrFail(lease);
    });
  }

  /**
   * Releases a lease that no run is held by. Repeating it changes nothing; a holder whose lease has run out before is told.
   * @throws NotFoundError, FencingTokenRequiredError, LeaseLostError
   */
  release(leaseId: string, reason: string | null, fencingToken?: number): Promise<EnvironmentLease> {
    return inTransaction(this.em, async () => {
      const lease = await this.lock(leaseId, fencingToken);
      if (fencingToken !== undefined && lease.status !== 'released') await this.assertHeld(lease);
      if (lease.status === 'active') {
        await this.ends.end([{ id: leaseId, status: 'released', reason, run: null, succeeded: true }]);
      }
      return this.em.refreshOrFail(lease);
    });
  }

  /** Locks a lease that the caller has to hold now. */
  private async hold(leaseId: string, fencingToken?: number): Promise<EnvironmentLease> {
    const lease = await this.lock(leaseId, fencingToken);
    await this.assertHeld(lease);
    return lease;
  }

  /** One that has run out, or was revoked until now, is lost whether or not it has been ended. */
  private async assertHeld({ id, status, expiresAt, revokeAt }: EnvironmentLease): Promise<void> {
    const [{ over }] = await this.em.execute<[{ over: boolean }]>(
      `select clock_timestamp() >= least(?::timestamptz, ?::timestamptz) as over`,
      [expiresAt.toISOString(), revokeAt?.toISOString() ?? null],
    );
    if (status !== 'active' || over) throw new LeaseLostError(id);
  }

  /**
   * A run's leases are that run's, whoever in the company can read their fencing tokens.
   * @throws OtherRunsLeaseError
   */
  assertMayTouch({ heartbeatRunId }: EnvironmentLease): void {
    const actor = currentActor();
    if (actor.type !== 'agent') return;
    if (actor.runId === null || heartbeatRunId !== actor.runId) throw new OtherRunsLeaseError();
  }

  private async lock(leaseId: string, fencingToken?: number): Promise<EnvironmentLease> {
    await this.em.execute(`select 1 from environment_leases where id = ? for no key update`, [leaseId]);
    const lease = await this.require(leaseId);
    if (fencingToken === undefined && currentActor().type === 'agent') throw new FencingTokenRequiredError();
    this.assertMayTouch(lease);
    if (fencingToken !== undefined && fencingToken !== lease.fencingToken) throw new LeaseLostError(leaseId);
    return lease;
  }

  private async list(
    companyId: string,
    { status, environmentId, runId, asOf, limit = MAX_PAGE, cursor }: LeaseFilter,
  ): Promise<Page<LeaseRow>> {
    const isThere = environmentId && !status && !runId && !asOf;
    const conditions: Condition[] = [
      status && [SHOWN_AS[status]],
      isThere && [THERE, environmentId, idFromCursor(cursor), limit + 1, environmentId],
      environmentId && ['environment_id = ?', environmentId],
      runId && [OF_RUN, runId, runId],
      asOf && heldAt(companyId, new Date(asOf)),
    ];
    const leases =
      environmentId || runId
        ? await LEASES.page(this.em, [heldTo('company_id = ?', companyId), ...conditions], { limit, cursor })
        : await LEASES.pageOfCompany(this.em, companyId, conditions, { limit, cursor });
    if (asOf) await this.assertComplete(companyId, new Date(asOf));
    return leases;
  }

  /** After they were read: what was removed before that has raised the horizon. @throws HistoryRemovedError */
  private async assertComplete(companyId: string, time: Date): Promise<void> {
    const [horizon] = await this.em.execute<{ since: string }[]>(
      `select complete_since as since from retention_horizons
       where company_id = ? and kind = 'runs' and complete_since > ?`,
      [companyId, time],
    );
    if (horizon) throw new HistoryRemovedError(new Date(horizon.since));
  }
}

const RETAINED = `select lease_id from environment_places where state = 'retained'`;

/**
 * What is shown as retained is not shown as what it ended as. Written into the statement, so that it is planned for this
 * status: how many leases have it is very different.
 */
const SHOWN_AS: Record<ShownLeaseStatus, string> = {
  active: `status = 'active' and held_until is null`,
  released: `status = 'released' and id not in (${RETAINED})`,
  expired: `status = 'expired' and id not in (${RETAINED})`,
  failed: `status = 'failed' and id not in (${RETAINED})`,
  retained: `id = any(array(${RETAINED}))`,
};

/** An environment's newest leases: those that have ended, and what it holds, which has an index of its own. */
const THERE = `id = any(array(
  (select id from environment_leases where environment_id = ? and status <> 'active'
    and id < coalesce(?::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') order by id desc limit ?)
  union all
  select id from environment_leases where environment_id = ? and held_until is null and status = 'active'))`;

/** The lease that a run names, and its further ones. Runs live in a module above this one, so this reads their table. */
const OF_RUN = `id = any(array(
  select lease_id from heartbeat_runs where id = ?
  union all
  select f.id from heartbeat_runs r join environment_leases f on f.run_lease_id = r.lease_id and f.run_lease_id <> f.id
    where r.id = ?))`;

/** How long before and after a time the ids are from of which `lease_outlasts_id` says nothing, in milliseconds. */
const IDS_BEFORE_MS = 60_000;
const IDS_AFTER_MS = 10_000;

/**
 * A lease is held from its acquisition on, and at the time of its release no more. An array, so that these are looked for
 * first, however many the planner takes them to be.
 */
const HELD_AT = `id = any(array(
  select id from environment_leases where company_id = ? and status = 'active' and acquired_at <= ?::timestamptz
  union all
  select id from environment_leases where company_id = ? and id >= ?::uuid and id < ?::uuid
    and status <> 'active' and acquired_at <= ?::timestamptz and released_at > ?::timestamptz
  union all
  select id from environment_leases where company_id = ? and tstzrange(acquired_at, released_at) @> ?::timestamptz
    and status <> 'active' and lease_outlasts_id(id, acquired_at, released_at)))`;

function heldAt(companyId: string, time: Date): Condition {
  const ids = [firstId(time.getTime() - IDS_BEFORE_MS), firstId(time.getTime() + IDS_AFTER_MS + 1)];
  return [HELD_AT, companyId, time, companyId, ...ids, time, time, companyId, time];
}

/** The lowest id that can have been made at a time. */
function firstId(ms: number): string {
  const digits = Math.max(0, ms).toString(16).padStart(12, '0');
  return `${digits.slice(0, 8)}-${digits.slice(8)}-0000-0000-000000000000`;
}
