import { ApiProperty } from '@nestjs/swagger';
import {
  IsBoolean,
  IsISO8601,
  IsIn,
  IsInt,
  IsObject,
  IsOptional,
  IsRFC3339,
  IsString,
  IsUUID,
  Max,
  MaxLength,
  Min,
} from 'class-validator';
import { LEASE_POLICIES, type LeasePolicy } from '../environments/lease-policy.js';
import { IfGiven } from '../http/if-given.js';
import { MaxJsonBytes } from '../http/max-json-bytes.js';
import { PageQueryDto } from '../http/page-query.dto.js';
import {
  CLEANUP_STATUSES,
  SHOWN_LEASE_STATUSES,
  cleanupStatusOf,
  shownStatusOf,
  type CleanupStatus,
  type ShownLeaseStatus,
} from './environment-lease.entity.js';
import type { LeaseRow } from './leases.service.js';

export class EnvironmentLeaseQueryDto extends PageQueryDto {
  @IfGiven()
  @IsIn(SHOWN_LEASE_STATUSES)
  @ApiProperty({ enum: SHOWN_LEASE_STATUSES, required: false })
  status?: ShownLeaseStatus;

  /**
   * Only what was held at this time, which names its zone; `status` is what that has become since.
   * @example 2026-11-22T14:00:00Z
   */
  @IfGiven()
  @IsISO8601({ strict: true })
  @IsRFC3339({ message: '$property must be a time with its zone, for example 2026-11-22T14:00:00Z' })
  asOf?: string;
}

export class LeaseQueryDto extends EnvironmentLeaseQueryDto {
  @IfGiven()
  @IsUUID()
  environmentId?: string;

  @IfGiven()
  @IsUUID()
  runId?: string;
}

export class PatchLeaseDto {
  /**
   * Keys to write over the present ones; null takes one out.
   * @example { "branch": "fix-the-anchor" }
   */
  @IsObject()
  @MaxJsonBytes(65_536)
  metadata: Record<string, unknown>;

  /** What the holder was given with the lease; only an operator may leave it out. */
  @IfGiven()
  @IsInt()
  @Min(1)
  fencingToken?: number;
}

export class RenewLeaseDto {
  /** What the holder was given with the lease; only an operator may leave it out. */
  @IfGiven()
  @IsInt()
  @Min(1)
  fencingToken?: number;

  /** How long it shall last from now, in seconds; as long as it did from its last renewal unless given. Never shorter. */
  @IfGiven()
  @IsInt()
  @Min(1)
  @Max(86_400)
  ttlSec?: number;
}

export class ReleaseLeaseDto {
  /** Why, for the record. */
  @IsOptional()
  @IsString()
  @MaxLength(500)
  reason?: string | null;

  /** What the holder was given with the lease; only an operator may leave it out. */
  @IfGiven()
  @IsInt()
  @Min(1)
  fencingToken?: number;

  /** Ends a running run together with its lease; operators only. */
  @IfGiven()
  @IsBoolean()
  force?: boolean;
}

export class LeaseResponse {
  id: string;
  companyId: string;
  environmentId: string;
  executionWorkspaceId: string | null;
  issueId: string | null;
  heartbeatRunId: string | null;
  /** Who holds it: `run:<id>`, or the name that a holder outside gave itself. */
  holder: string;
  /** `retained`: it has ended as `failed` or `expired`, and its place is kept to be looked at. */
  @ApiProperty({ enum: SHOWN_LEASE_STATUSES })
  status: ShownLeaseStatus;
  @ApiProperty({ enum: LEASE_POLICIES })
  leasePolicy: LeasePolicy;
  /** The driver that makes its place. */
  provider: string;
  providerLeaseId: string | null;
  /** What its driver made for it, to be found among `environment-places`; null where it leaves nothing behind. */
  placeId: string | null;
  /** Which place under the environment's capacity it has, from 1; null where the environment has no capacity. */
  slot: number | null;
  /** Rises from holder to holder; shown with every write of the holder. */
  fencingToken: number;
  runnerId: string | null;
  host: string | null;
  acquiredAt: Date;
  lastUsedAt: Date;
  expiresAt: Date;
  /** How long each renewal lasts, in seconds. */
  ttlSec: number;
  /** No renewal goes past this. */
  lifetimeEndsAt: Date;
  releasedAt: Date | null;
  /** When it gave up its slot: at its end, or when its place was gone or went to the next holder. */
  heldUntil: Date | null;
  failureReason: string | null;
  /** How the clean-up of its place stands; `failed` once nobody tries any more; null while there is nothing to clean up. */
  @ApiProperty({ enum: CLEANUP_STATUSES, nullable: true })
  cleanupStatus: CleanupStatus | null;
  cleanupAttempts: number;
  metadata: Record<string, unknown>;
  createdAt: Date;
  updatedAt: Date;

  static from(lease: LeaseRow): LeaseResponse {
    return {
      id: lease.id,
      companyId: lease.companyId,
      environmentId: lease.environmentId,
      executionWorkspaceId: lease.executionWorkspaceId ?? null,
      issueId: lease.issueId ?? null,
      heartbeatRunId: lease.heartbeatRunId ?? null,
      holder: lease.holder,
      status: shownStatusOf(lease),
      leasePolicy: lease.leasePolicy,
      provider: lease.provider,
      providerLeaseId: lease.providerLeaseId ?? null,
      placeId: lease.placeId ?? null,
      slot: lease.slot ?? null,
      fencingToken: lease.fencingToken,
      runnerId: lease.runnerId ?? null,
      host: lease.host ?? null,
      acquiredAt: lease.acquiredAt,
      lastUsedAt: lease.lastUsedAt,
      expiresAt: lease.expiresAt,
      ttlSec: lease.ttlSec,
      lifetimeEndsAt: lease.lifetimeEndsAt,
      releasedAt: lease.releasedAt ?? null,
      heldUntil: lease.heldUntil ?? null,
      failureReason: lease.failureReason ?? null,
      cleanupStatus: cleanupStatusOf(lease),
      cleanupAttempts: lease.place?.attempts ?? 0,
      metadata: lease.metadata,
      createdAt: lease.createdAt,
      updatedAt: lease.updatedAt,
    };
  }
}
