import { ApiProperty } from '@nestjs/swagger';
import { IsIn, IsInt, IsObject, IsOptional, IsString, Length, Max, MaxLength, Min } from 'class-validator';
import type { RowOf } from '../database/entity-rows.js';
import { currentActor } from '../events/request-scope.js';
import { IfGiven } from '../http/if-given.js';
import { MaxJsonBytes } from '../http/max-json-bytes.js';
import { PageQueryDto } from '../http/page-query.dto.js';
import { REDACTED, withoutSecrets } from '../redaction/secret-names.js';
import { ENVIRONMENT_STATUSES, type Environment, type EnvironmentStatus } from './environment.entity.js';
import { LEASE_POLICIES, type LeasePolicy } from './lease-policy.js';

const MAX_CAPACITY = 100_000;
const MAX_WARM_SEC = 604_800;
const MAX_RETAIN_SEC = 2_592_000;
/** The longest that what is taken away from its holder may still go on, in seconds. */
export const MAX_GRACE_SEC = 86_400;

export abstract class EnvironmentFields {
  /** What it is for. */
  @IsOptional()
  @IsString()
  @MaxLength(10_000)
  description?: string | null;

  /**
   * What its driver needs to know; see the capabilities for the schema of each.
   * @example { "cwd": "/srv/agents" }
   */
  @IfGiven()
  @IsObject()
  @MaxJsonBytes(65_536)
  config?: Record<string, unknown>;

  /**
   * Variables that every process in it is given: strings, or secrets that are named, by their ids or names.
   * @example { "NODE_ENV": "production", "NPM_TOKEN": { "secretRef": "registry-token" } }
   */
  @IfGiven()
  @IsObject()
  envVars?: Record<string, unknown>;

  /** How many leases it takes at once; null for no limit. */
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(MAX_CAPACITY)
  capacity?: number | null;

  /**
   * What becomes of a place when its lease ends, where the driver makes any: `ephemeral` takes it down;
   * `reuse_by_environment` and `reuse_by_execution_workspace` keep it for the next holder that could use it, there or in
   * the same workspace; `retain_on_failure` keeps that of a failed run to be looked at.
   */
  @IfGiven()
  @IsIn(LEASE_POLICIES)
  @ApiProperty({ enum: LEASE_POLICIES, required: false })
  leasePolicy?: LeasePolicy;

  /** How long a finished place waits for its next holder, in seconds; 600 unless given. */
  @IfGiven()
  @IsInt()
  @Min(1)
  @Max(MAX_WARM_SEC)
  warmSec?: number;

  /** How long the place of a failed run is kept, in seconds; a day unless given. It holds its capacity that long. */
  @IfGiven()
  @IsInt()
  @Min(1)
  @Max(MAX_RETAIN_SEC)
  retainSec?: number;

  /** Whatever its owner wants to keep with it. */
  @IfGiven()
  @IsObject()
  @MaxJsonBytes(65_536)
  metadata?: Record<string, unknown>;
}

export class CreateEnvironmentDto extends EnvironmentFields {
  /**
   * Unique within the company.
   * @example "Build box"
   */
  @IsString()
  @Length(1, 200)
  name: string;

  /**
   * How it is reached; see the capabilities.
   * @example "local"
   */
  @IsString()
  @MaxLength(100)
  driver: string;
}

export class UpdateEnvironmentDto extends EnvironmentFields {
  /** Unique within the company. */
  @IfGiven()
  @IsString()
  @Length(1, 200)
  name?: string;

  /** The same as the actions drain, activate and archive. */
  @IfGiven()
  @IsIn(ENVIRONMENT_STATUSES)
  @ApiProperty({ enum: ENVIRONMENT_STATUSES, required: false })
  status?: EnvironmentStatus;
}

/** An environment that does not have to exist: the body of its creation can be probed as it is. */
export class ProbeConfigDto extends EnvironmentFields {
  /** Not looked at. */
  @IsOptional()
  @IsString()
  name?: string;

  /**
   * How it is reached; see the capabilities.
   * @example "local"
   */
  @IsString()
  @MaxLength(100)
  driver: string;
}

export class DrainEnvironmentDto {
  /**
   * How long what runs there may still go on, in seconds; then it is ended. Left out, everything there ends by itself.
   * @example 300
   */
  @IfGiven()
  @IsInt()
  @Min(0)
  @Max(MAX_GRACE_SEC)
  graceSec?: number;

  /** Why, for the record. */
  @IsOptional()
  @IsString()
  @MaxLength(500)
  reason?: string | null;
}

export class EnvironmentQueryDto extends PageQueryDto {
  /** Only those in this state. */
  @IfGiven()
  @IsIn(ENVIRONMENT_STATUSES)
  @ApiProperty({ enum: ENVIRONMENT_STATUSES, required: false })
  status?: EnvironmentStatus;

  /** Only those of this driver. */
  @IfGiven()
  @IsString()
  @MaxLength(100)
  driver?: string;
}

export class EnvironmentResponse {
  id: string;
  companyId: string;
  name: string;
  description: string | null;
  driver: string;
  @ApiProperty({ enum: ENVIRONMENT_STATUSES })
  status: EnvironmentStatus;
  config: Record<string, unknown>;
  /** For agents without their values. */
  envVars: Record<string, unknown>;
  capacity: number | null;
  @ApiProperty({ enum: LEASE_POLICIES })
  leasePolicy: LeasePolicy;
  warmSec: number;
  retainSec: number;
  metadata: Record<string, unknown>;
  /** How many leases hold it now. */
  activeLeaseCount: number;
  createdAt: Date;
  updatedAt: Date;

  /** As the caller may see it. */
  static from(environment: RowOf<Environment>, activeLeaseCount: number): EnvironmentResponse {
    const { config, envVars, metadata } = currentActor().type === 'agent' ? shownToAgents(environment) : environment;
    return {
      id: environment.id,
      companyId: environment.companyId,
      name: environment.name,
      description: environment.description ?? null,
      driver: environment.driver,
      status: environment.status,
      config,
      envVars,
      capacity: environment.capacity ?? null,
      leasePolicy: environment.leasePolicy,
      warmSec: environment.warmSec,
      retainSec: environment.retainSec,
      metadata,
      activeLeaseCount,
      createdAt: environment.createdAt,
      updatedAt: environment.updatedAt,
    };
  }
}

const shownToAgents = ({ config, envVars, metadata }: RowOf<Environment>) => ({
  config: withoutSecrets(config),
  envVars: Object.fromEntries(Object.keys(envVars).map((name) => [name, REDACTED])),
  metadata: withoutSecrets(metadata),
});

export class DriverCapabilitiesResponse {
  /** @example "local" */
  driver: string;
  description: string;
  /** Leaves something behind that has to be taken down. */
  hasPlaces: boolean;
  /** JSON schema of an environment's `config`. */
  configSchema: Record<string, unknown>;
}

export class EnvironmentCapabilitiesResponse {
  drivers: DriverCapabilitiesResponse[];
}

export class ProbeResponse {
  /** Whether a run could execute there now. */
  ok: boolean;
  driver: string;
  /** One sentence about it. */
  summary: string;
  details: Record<string, unknown>;
}

export class EnvironmentPlaceResponse {
  placeId: string;
  /** `realising`, `in_use`, `warm`, `retained` or `cleaning`. */
  state: string;
  /** The only host that can take it down; null for any. */
  host: string | null;
  /** Until when it is kept, where it is `warm` or `retained`. */
  keepUntil: Date | null;
  /** Since when nobody tries any more to take it down: an operator has to look. */
  parkedAt: Date | null;
}

export class EnvironmentHolderResponse {
  leaseId: string;
  heartbeatRunId: string | null;
  holder: string;
  /** `active`, or how the lease ended that only its place still holds. */
  status: string;
  place: EnvironmentPlaceResponse | null;
}

export class WaitingRequestResponse {
  requestId: string;
  holder: string;
  createdAt: Date;
}

/** What deleting an environment would touch. */
export class DeleteBlastRadiusResponse {
  environmentId: string;
  /** Whether it can be deleted now: nothing is held in it. */
  canDelete: boolean;
  activeLeaseCount: number;
  /** Places of ended leases: kept, or not taken down yet. */
  heldPlaceCount: number;
  /** The oldest leases that hold it, by themselves or by their place, at most 20. */
  leases: EnvironmentHolderResponse[];
  /** Runs that wait to start there, and would fail. */
  waitingRunCount: number;
  /** Holders outside who wait for a lease there: they would be refused. */
  waitingRequestCount: number;
  /** Those that have waited longest, at most 20. */
  requests: WaitingRequestResponse[];
  /** Runs that say nothing else go there, and would fail. */
  isCompanyDefault: boolean;
  /** Agents whose runs go there, and would fail. */
  agentCount: number;
  /** Issues whose runs go there, and would fail. */
  openIssueCount: number;
  /** Active workspaces in it. */
  workspaceCount: number;
}
