import { ApiProperty } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import {
  IsBoolean,
  IsDate,
  IsIn,
  IsInt,
  IsObject,
  IsOptional,
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
import { LEASE_STATUSES, type EnvironmentLease, type LeaseStatus } from './environment-lease.entity.js';

export class EnvironmentLeaseQueryDto extends PageQueryDto {
  @IfGiven()
  @IsIn(LEASE_STATUSES)
  status?: LeaseStatus;

  /** Only what was held at this time. */
  @IfGiven()
  @Type(() => Date)
  @IsDate()
  asOf?: Date;
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

  /** How long it shall last from now, in seconds; the server's own lease time unless given. A lease is never shortened. */
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
  @ApiProperty({ enum: LEASE_STATUSES })
  status: LeaseStatus;
  @ApiProperty({ enum: LEASE_POLICIES })
  leasePolicy: LeasePolicy;
  /** The driver that makes its place. */
  provider: string;
  providerLeaseId: string | null;
  /** Rises from holder to holder; shown with every write of the holder. */
  fencingToken: number;
  runnerId: string | null;
  host: string | null;
  acquiredAt: Date;
  lastUsedAt: Date;
  expiresAt: Date;
  releasedAt: Date | null;
  failureReason: string | null;
  /** How the clean-up of its place stands; null where its driver leaves nothing behind. */
  cleanupStatus: string | null;
  cleanupAttempts: number;
  metadata: Record<string, unknown>;
  createdAt: Date;
  updatedAt: Date;

  static from(lease: EnvironmentLease): LeaseResponse {
    return {
      id: lease.id,
      companyId: lease.companyId,
      environmentId: lease.environmentId,
      executionWorkspaceId: lease.executionWorkspaceId ?? null,
      issueId: lease.issueId ?? null,
      heartbeatRunId: lease.heartbeatRunId ?? null,
      holder: lease.holder,
      status: lease.status,
      leasePolicy: lease.leasePolicy,
      provider: lease.provider,
      providerLeaseId: lease.providerLeaseId ?? null,
      fencingToken: lease.fencingToken,
      runnerId: lease.runnerId ?? null,
      host: lease.host ?? null,
      acquiredAt: lease.acquiredAt,
      lastUsedAt: lease.lastUsedAt,
      expiresAt: lease.expiresAt,
      releasedAt: lease.releasedAt ?? null,
      failureReason: lease.failureReason ?? null,
      cleanupStatus: null,
      cleanupAttempts: 0,
      metadata: lease.metadata,
      createdAt: lease.createdAt,
      updatedAt: lease.updatedAt,
    };
  }
}
