import { IsInt, IsOptional, IsString, IsUUID, Max, MaxLength, Min } from 'class-validator';
import { IfGiven } from '../../http/if-given.js';
import { MAX_GRACE_SEC } from '../../environments/environment.dto.js';
import type { Revoked, RevokedLease } from '../ending/revoke.service.js';

/** Which leases: exactly one of the ids, and how they end. */
export class RevokeLeasesDto {
  /** Everything that is held in this environment. */
  @IfGiven()
  @IsUUID()
  environmentId?: string;

  /** Everything that this company holds. */
  @IfGiven()
  @IsUUID()
  companyId?: string;

  /** Everything that runs with this runner. */
  @IfGiven()
  @IsUUID()
  runnerId?: string;

  /** What this run holds. A run that still waits holds nothing, and is left alone: cancel it. */
  @IfGiven()
  @IsUUID()
  runId?: string;

  /** This one. */
  @IfGiven()
  @IsUUID()
  leaseId?: string;

  /** Why, for the record and for whoever wonders why a run was ended. */
  @IsOptional()
  @IsString()
  @MaxLength(500)
  reason?: string | null;

  /** How long what holds them may still go on, in seconds; at once unless given. */
  @IfGiven()
  @IsInt()
  @Min(0)
  @Max(MAX_GRACE_SEC)
  graceSec?: number;
}

export class RevokedLeaseResponse {
  leaseId: string;
  companyId: string;
  environmentId: string;
  /** The run that holds it, and is ended with its first lease; null for a reservation. */
  heartbeatRunId: string | null;
  holder: string;
  /** When it is ended, unless its holder ends it before. */
  endsAt: Date;
}

export class RevokeResponse {
  /** How many leases were revoked. */
  revoked: number;
  /** How many more were to end no later already; they were left at that. */
  endingAnyway: number;
  /** The first 200 of those that were revoked. */
  leases: RevokedLeaseResponse[];
  /** Whether more were revoked than `leases` shows. */
  truncated: boolean;

  static from({ revoked, endingAnyway }: Revoked): RevokeResponse {
    const leases: RevokedLease[] = revoked.slice(0, SHOWN_LEASES);
    return { revoked: revoked.length, endingAnyway, leases, truncated: leases.length < revoked.length };
  }
}

const SHOWN_LEASES = 200;
