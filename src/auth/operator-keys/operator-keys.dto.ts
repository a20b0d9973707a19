import { ApiProperty } from '@nestjs/swagger';
import {
  ArrayMaxSize,
  ArrayNotEmpty,
  IsArray,
  IsBoolean,
  IsISO8601,
  IsOptional,
  IsString,
  IsUUID,
  Length,
} from 'class-validator';
import type { RowOf } from '../../database/entity-rows.js';
import { IfGiven } from '../../http/if-given.js';
import { IgnoresClientFields } from '../../http/ignored-fields.js';
import type { OperatorKey } from './operator-key.entity.js';

/** Most companies that one key names. */
const MAX_COMPANIES = 100;

@IgnoresClientFields('operatorKey')
export class CreateOperatorKeyDto {
  /**
   * What it is for.
   * @example "dashboard"
   */
  @IsString()
  @Length(1, 200)
  name: string;

  /** The only companies that it can see; every one, and what belongs to none, unless given. */
  @IsOptional()
  @IsArray()
  @ArrayNotEmpty()
  @ArrayMaxSize(MAX_COMPANIES)
  @IsUUID(undefined, { each: true })
  companyIds?: string[] | null;

  /** Whether it can only read. */
  @IfGiven()
  @IsBoolean()
  @ApiProperty({ required: false, default: false })
  readOnly?: boolean;

  /** When it stops to count; never unless given. */
  @IsOptional()
  @IsISO8601({ strict: true })
  @ApiProperty({ type: String, format: 'date-time', required: false, nullable: true })
  expiresAt?: string | null;
}

export class OperatorKeyResponse {
  id: string;
  name: string;
  /** The only companies that it can see; null for the whole instance. */
  companyIds: string[] | null;
  readOnly: boolean;
  expiresAt: Date | null;
  /** Who made it, as the record names callers. */
  createdBy: string;
  createdAt: Date;
  /** To about a minute. */
  lastUsedAt: Date | null;
  revokedBy: string | null;
  revokedAt: Date | null;

  static from(key: RowOf<OperatorKey, 'tokenHash'>): OperatorKeyResponse {
    return {
      id: key.id,
      name: key.name,
      companyIds: key.companyIds ?? null,
      readOnly: key.readOnly,
      expiresAt: key.expiresAt ?? null,
      createdBy: key.createdBy,
      createdAt: key.createdAt,
      lastUsedAt: key.lastUsedAt ?? null,
      revokedBy: key.revokedBy ?? null,
      revokedAt: key.revokedAt ?? null,
    };
  }
}

export class CreatedOperatorKeyResponse extends OperatorKeyResponse {
  /** The secret: shown this once, only its hash is kept. */
  token: string;
}
