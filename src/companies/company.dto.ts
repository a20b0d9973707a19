import { ApiProperty } from '@nestjs/swagger';
import { IsInt, IsObject, IsOptional, IsString, IsUUID, Length, Matches, Max, MaxLength, Min } from 'class-validator';
import type { RowOf } from '../database/entity-rows.js';
import { IfGiven } from '../http/if-given.js';
import { IgnoresClientFields } from '../http/ignored-fields.js';
import { MaxJsonBytes } from '../http/max-json-bytes.js';
import { COMPANY_STATUSES, type Company, type CompanyStatus } from './company.entity.js';

const MAX_INT = 2_147_483_647;

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

  /** How long what is kept. */
  @IfGiven()
  @IsObject()
  @MaxJsonBytes(16_384)
  retention?: Record<string, unknown>;
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
  retention: Record<string, unknown>;
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
      retention: company.retention,
      archivedAt: company.archivedAt ?? null,
      createdAt: company.createdAt,
      updatedAt: company.updatedAt,
    };
  }
}
