import { ApiProperty } from '@nestjs/swagger';
import { IsIn, IsInt, IsObject, IsOptional, IsString, Length, Max, MaxLength, Min } from 'class-validator';
import { IfGiven } from '../http/if-given.js';
import { MaxJsonBytes } from '../http/max-json-bytes.js';
import { PageQueryDto } from '../http/page-query.dto.js';
import { ENVIRONMENT_STATUSES, type Environment, type EnvironmentStatus } from './environment.entity.js';

const MAX_CAPACITY = 100_000;

abstract class EnvironmentFields {
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
   * Variables that every process in it is given.
   * @example { "NODE_ENV": "production" }
   */
  @IfGiven()
  @IsObject()
  envVars?: Record<string, string>;

  /** How many leases it takes at once; null for no limit. */
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(MAX_CAPACITY)
  capacity?: number | null;

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
  envVars: Record<string, string>;
  capacity: number | null;
  metadata: Record<string, unknown>;
  /** How many leases hold it now. */
  activeLeaseCount: number;
  createdAt: Date;
  updatedAt: Date;

  static from(environment: Environment, activeLeaseCount: number): EnvironmentResponse {
    return {
      id: environment.id,
      companyId: environment.companyId,
      name: environment.name,
      description: environment.description ?? null,
      driver: environment.driver,
      status: environment.status,
      config: environment.config,
      envVars: environment.envVars,
      capacity: environment.capacity ?? null,
      metadata: environment.metadata,
      activeLeaseCount,
      createdAt: environment.createdAt,
      updatedAt: environment.updatedAt,
    };
  }
}

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

export class EnvironmentHolderResponse {
  leaseId: string;
  heartbeatRunId: string | null;
  holder: string;
}

/** What deleting an environment would touch. */
export class DeleteBlastRadiusResponse {
  environmentId: string;
  /** Whether it can be deleted now: nothing is held in it. */
  canDelete: boolean;
  activeLeaseCount: number;
  /** The oldest of these leases, at most 20. */
  leases: EnvironmentHolderResponse[];
  /** Runs that say nothing else go there, and would fail. */
  isCompanyDefault: boolean;
  /** Agents whose runs go there, and would fail. */
  agentCount: number;
  /** Issues whose runs go there, and would fail. */
  openIssueCount: number;
  /** Active workspaces in it. */
  workspaceCount: number;
}
