import { IsIn, IsOptional, IsString, Length, Matches, MaxLength } from 'class-validator';
import type { RowOf } from '../database/entity-rows.js';
import { IfGiven } from '../http/if-given.js';
import { IgnoresClientFields } from '../http/ignored-fields.js';
import { MIN_SECRET_LENGTH } from '../redaction/needles.js';
import { REDACTED } from '../redaction/secret-names.js';
import type { SecretUse } from './secret-errors.js';
import type { Secret } from './secret.entity.js';

const MAX_VALUE_LENGTH = 32_768;
/** Looks like an id, in the place of which a name may stand. */
const NOT_AN_ID = /^(?!\s|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$).*\S$/i;
/** Shorter ones cannot be taken out of what programs print, and what has been taken out is no value. */
const LONG_ENOUGH = new RegExp(
  `^(?!${REDACTED.replace(/[[\]]/g, '\\$&')}$)\\s*\\S[^]{${MIN_SECRET_LENGTH - 2},}\\S\\s*$`,
);
const TOO_SHORT = `value must have at least ${MIN_SECRET_LENGTH} characters, not counting white space around them: a shorter one could not be kept out of logs`;

/** What holds for every name. */
const NAME = { message: 'name must not look like an id, nor begin or end with white space' };

/** Exported, because the API's description has no fields of a class that is not. */
export abstract class SecretValueDto {
  /**
   * What nobody is shown again.
   * @example "correct horse battery staple"
   */
  @IsString()
  @MaxLength(MAX_VALUE_LENGTH)
  @Matches(LONG_ENOUGH, { message: TOO_SHORT })
  value: string;
}

@IgnoresClientFields('secret')
export class CreateSecretDto extends SecretValueDto {
  /**
   * Unique within the company.
   * @example "registry-token"
   */
  @IsString()
  @Length(1, 200)
  @Matches(NOT_AN_ID, NAME)
  name: string;

  /** What it is for. */
  @IsOptional()
  @IsString()
  @MaxLength(10_000)
  description?: string | null;

  /** Where its value is kept: by Berth itself. */
  @IfGiven()
  @IsIn(['local_encrypted'])
  provider?: 'local_encrypted';

  /** Who keeps it. */
  @IfGiven()
  @IsIn(['paperclip_managed'])
  managedMode?: 'paperclip_managed';
}

@IgnoresClientFields('secret')
export class UpdateSecretDto {
  /** Unique within the company. What refers to it goes on doing so. */
  @IfGiven()
  @IsString()
  @Length(1, 200)
  @Matches(NOT_AN_ID, NAME)
  name?: string;

  /** What it is for. */
  @IsOptional()
  @IsString()
  @MaxLength(10_000)
  description?: string | null;
}

@IgnoresClientFields('secret')
export class RotateSecretDto extends SecretValueDto {}

/** A secret, without its value. */
export class SecretResponse {
  id: string;
  companyId: string;
  name: string;
  description: string | null;
  provider: 'local_encrypted';
  managedMode: 'paperclip_managed';
  status: 'active';
  /** The number of its present value. */
  latestVersion: number;
  lastRotatedAt: Date | null;
  createdAt: Date;
  updatedAt: Date;

  static from(secret: RowOf<Secret>): SecretResponse {
    const { id, companyId, name, description = null, latestVersion, rotatedAt = null, createdAt, updatedAt } = secret;
    const kept = { provider: 'local_encrypted', managedMode: 'paperclip_managed', status: 'active' } as const;
    return {
      ...{ id, companyId, name, description, ...kept, latestVersion },
      ...{ lastRotatedAt: rotatedAt, createdAt, updatedAt },
    };
  }
}

export class SecretUseResponse implements SecretUse {
  targetType: 'agent' | 'environment';
  targetId: string;
  /** Of the agent or environment. */
  name: string;
  /**
   * Where in its config.
   * @example "adapterConfig.env.TOKEN"
   */
  configPath: string;
}

export class SecretUsageResponse {
  secretId: string;
  /** At most 100. */
  bindings: SecretUseResponse[];
}
