import { ApiProperty } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import {
  IsInt,
  IsObject,
  IsOptional,
  IsString,
  IsUUID,
  Length,
  Matches,
  Max,
  MaxLength,
  Min,
  ValidateNested,
} from 'class-validator';
import type { RowOf } from '../database/entity-rows.js';
import { IfGiven } from '../http/if-given.js';
import { IgnoresClientFields } from '../http/ignored-fields.js';
import { COMPANY_STATUSES, type Company, type CompanyStatus } from './company.entity.js';

const MAX_INT = 2_147_483_647;
const MAX_DAYS = 36_500;

@IgnoresClientFields('company')
export class CreateCompanyDto {
  /**
   * What people call it.
   * @example "Harbour Works"
   */
  @IsString()
  @Length(1, 200)
  name: string;

  /** What it is for. */
  @IsOptional()
  @IsString()
  @MaxLength(10_000)
  description?: string | null;

  /**
   * How its issues are called: `BER` gives `BER-1`, `BER-2`. Made from the name unless given.
   * @example "HAR"
   */
  @IfGiven()
  @Matches(/^[A-Z][A-Z0-9]{0,9}$/, { message: 'issuePrefix must be 1 to 10 capital letters or digits, a letter first' })
  issuePrefix?: string;
}

/** For how many days what is kept. 0 for ever; what is left out is as the instance has it. */
export class CompanyRetentionDto {
  /** The record of state changes. */
  @IfGiven()
  @IsInt()
  @Min(0)
  @Max(MAX_DAYS)
  activityDays?: number;

  /** Runs that have ended, with their leases, wakes and logs; reservations; wakes that became no run. */
  @IfGiven()
  @IsInt()
  @Min(0)
  @Max(MAX_DAYS)
  runDays?: number;

  /** What runs wrote. */
  @IfGiven()
  @IsInt()
  @Min(0)
  @Max(MAX_DAYS)
  runLogDays?: number;
}

@IgnoresClientFields('company')
export class UpdateCompanyDto {
  /** What people call it. */
  @IfGiven()
  @IsString()
  @Length(1, 200)
  name?: string;

  /** What it is for. */
  @IsOptional()
  @IsString()
  @MaxLength(10_000)
  description?: string | null;

  /** Where runs go that say nothing else; null for the company's `Local`. */
  @IsOptional()
  @IsUUID()
  defaultEnvironmentId?: string | null;

  /** How many runs of the company may be running at once; null for no limit. */
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(MAX_INT)
  maxConcurrentRuns?: number | null;

  /** How long a run may wait for its place before it fails, in seconds; null for as long as it takes. */
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(MAX_INT)
  maxWaitSec?: number | null;

  /** How many agents it may have, those that are terminated not counted; null for any number. */
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(MAX_INT)
  maxAgents?: number | null;

  /** How many environments it may have; null for any number. */
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(MAX_INT)
  maxEnvironments?: number | null;

  /** How many of its runs may wait to start; null for any number. A wake that would make one more is refused or skipped. */
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(MAX_INT)
  maxQueuedRuns?: number | null;

  /** How long what is kept; takes the place of the present one as a whole. */
  @IfGiven()
  @IsObject()
  @ValidateNested()
  @Type(() => CompanyRetentionDto)
  retention?: CompanyRetentionDto;
}

export class CompanyResponse {
  id: string;
  name: string;
  description: string | null;
  @ApiProperty({ enum: COMPANY_STATUSES })
  status: CompanyStatus;
  /** How its issues are called. */
  issuePrefix: string;
  /** Where runs go that say nothing else; null for the company's `Local`. */
  defaultEnvironmentId: string | null;
  /** How many runs of the company may be running at once; null for no limit. */
  maxConcurrentRuns: number | null;
  /** How long a run may wait for its place, in seconds; null for as long as it takes. */
  maxWaitSec: number | null;
  /** How many agents it may have; null for any number. */
  maxAgents: number | null;
  /** How many environments it may have; null for any number. */
  maxEnvironments: number | null;
  /** How many of its runs may wait to start; null for any number. */
  maxQueuedRuns: number | null;
  /** How long what is kept, as far as it is not as everywhere. */
  retention: CompanyRetentionDto;
  archivedAt: Date | null;
  createdAt: Date;
  updatedAt: Date;

  static from(company: RowOf<Company>): CompanyResponse {
    return {
      id: company.id,
      name: company.name,
      description: company.description ?? null,
      status: company.status,
      issuePrefix: company.issuePrefix,
      defaultEnvironmentId: company.defaultEnvironmentId ?? null,
      maxConcurrentRuns: company.maxConcurrentRuns ?? null,
      maxWaitSec: company.maxWaitSec ?? null,
      maxAgents: company.maxAgents ?? null,
      maxEnvironments: company.maxEnvironments ?? null,
      maxQueuedRuns: company.maxQueuedRuns ?? null,
      retention: company.retention,
      archivedAt: company.archivedAt ?? null,
      createdAt: company.createdAt,
      updatedAt: company.updatedAt,
    };
  }
}
