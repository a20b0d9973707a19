import { defineEntity, p } from '@mikro-orm/core';
import type { LeasePolicy } from '../environments/lease-policy.js';
import type { PlaceState } from './places/environment-place.entity.js';
import { createdAtColumn, idColumn, objectColumn, timeColumn, updatedAtColumn } from '../database/columns.js';

export const LEASE_STATUSES = ['active', 'released', 'expired', 'failed'] as const;
export type LeaseStatus = (typeof LEASE_STATUSES)[number];

/** How clients see it: `retained` is an ended one whose place is kept after its failure. */
export const SHOWN_LEASE_STATUSES = [...LEASE_STATUSES, 'retained'] as const;
export type ShownLeaseStatus = (typeof SHOWN_LEASE_STATUSES)[number];

/** How the clean-up of a lease's place stands; null while there is nothing to clean up. */
export const CLEANUP_STATUSES = ['pending', 'success', 'failed'] as const;
export type CleanupStatus = (typeof CLEANUP_STATUSES)[number];

/** What a lease says of its place. */
export interface LeasedPlace {
  readonly state: PlaceState;
  /** Whoever holds it, or held it last: not this lease, once it was handed on. */
  readonly leaseId: string;
  readonly attempts: number;
  readonly isParked: boolean;
}

const EnvironmentLeaseSchema = defineEntity({
  name: 'EnvironmentLease',
  tableName: 'environment_leases',
  properties: {
    id: idColumn(),
    companyId: p.uuid(),
    environmentId: p.uuid(),
    executionWorkspaceId: p.uuid().nullable(),
    /** The workspace's mode, copied so that a unique index can hold exclusive ones. */
    workspaceMode: p.text().$type<'shared' | 'exclusive'>().nullable(),
    issueId: p.uuid().nullable(),
    heartbeatRunId: p.uuid().nullable(),
    holder: p.text(),
    status: p.text().$type<LeaseStatus>(),
    leasePolicy: p.text().$type<LeasePolicy>().default('ephemeral'),
    provider: p.text(),
    providerLeaseId: p.text().nullable(),
    /** By which lease its run is held: its own id, or for a further lease of the run that of the first. */
    runLeaseId: p.uuid().nullable(),
    /** Which of the environment's places it has; null where the environment has no capacity. */
    slot: p.integer().nullable(),
    placeId: p.uuid().nullable(),
    /** How its place stands; null where its driver leaves nothing behind. */
    place: p
      .json<LeasedPlace>()
      .nullable()
      .formula(
        (columns) => `(select jsonb_build_object('state', place.state, 'leaseId', place.lease_id,
          'attempts', place.attempts, 'isParked', place.parked_at is not null)
          from environment_places place where place.id = ${columns.placeId})`,
      ),
    fencingToken: p.bigint('number'),
    /** How long it lasts from each renewal on, in seconds. */
    ttlSec: p.integer(),
    runnerId: p.text().nullable(),
    host: p.text().nullable(),
    acquiredAt: timeColumn(),
    lastUsedAt: timeColumn(),
    expiresAt: timeColumn(),
    /** No renewal goes past this. */
    lifetimeEndsAt: timeColumn(),
    releasedAt: timeColumn().nullable(),
    /** When it gave its slot up: at its end, or when its place had gone or went to the next holder. */
    heldUntil: timeColumn().nullable(),
    revokeAt: timeColumn().nullable(),
    revokeReason: p.text().nullable(),
    failureReason: p.text().nullable(),
    metadata: objectColumn(),
    createdAt: createdAtColumn(),
    updatedAt: updatedAtColumn(),
  },
});

/**
 * The claim of one holder on one environment, from acquire to its end. Its transitions are set-based statements, each in a
 * file of its own: `acquire-leases.ts`, `renew-leases.ts`, `end-leases.ts`.
 */
export class EnvironmentLease extends EnvironmentLeaseSchema.class {
  /** Writes keys over the present ones; null takes one out. */
  mergeMetadata(patch: Record<string, unknown>): void {
    const merged = Object.entries({ ...this.metadata, ...patch });
    this.metadata = Object.fromEntries(merged.filter(([, value]) => value !== null));
  }
}
EnvironmentLeaseSchema.setClass(EnvironmentLease);

/** What clients see is derived from the lease and its place. */
type Shown = Pick<EnvironmentLease, 'id' | 'status' | 'place'>;

export function shownStatusOf({ id, status, place }: Shown): ShownLeaseStatus {
  return place?.state === 'retained' && place.leaseId === id ? 'retained' : status;
}

/** `failed` once nobody tries any more. */
export function cleanupStatusOf({ place }: Shown): CleanupStatus | null {
  if (place?.state === 'gone') return 'success';
  if (place?.state !== 'cleaning') return null;
  return place.isParked ? 'failed' : 'pending';
}
