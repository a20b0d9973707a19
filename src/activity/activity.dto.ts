import {
  IsISO8601,
  IsNotEmpty,
  IsObject,
  IsOptional,
  IsString,
  IsUUID,
  Matches,
  MaxLength,
  ValidateIf,
} from 'class-validator';
import type { RowOf } from '../database/entity-rows.js';
import { IgnoresClientFields } from '../http/ignored-fields.js';
import { MaxJsonBytes } from '../http/max-json-bytes.js';
import { PageQueryDto } from '../http/page-query.dto.js';
import type { Activity } from './activity.entity.js';

/** Which entries of the record to list; what is left out does not restrict. */
export class ActivityQueryDto extends PageQueryDto {
  /** Entries that concern this agent, or that it caused. */
  @IsOptional()
  @IsUUID()
  agentId?: string;

  /**
   * Kind of the thing that changed.
   * @example 'environment_lease'
   */
  @IsOptional()
  @IsString()
  @MaxLength(200)
  entityType?: string;

  /** Id of the thing that changed. */
  @IsOptional()
  @IsString()
  @MaxLength(200)
  entityId?: string;

  /**
   * What happened, exactly.
   * @example 'environment.lease_acquired'
   */
  @IsOptional()
  @IsString()
  @MaxLength(200)
  action?: string;

  /** Entries that concern this run, or that were caused on its behalf. */
  @IsOptional()
  @IsUUID()
  runId?: string;

  /** Entries made at this time or later. */
  @IsOptional()
  @IsISO8601({ strict: true })
  since?: string;

  /** Entries made before this time. */
  @IsOptional()
  @IsISO8601({ strict: true })
  until?: string;
}

const namesSubject = ({ entityType, entityId }: AddActivityDto) => entityType !== undefined || entityId !== undefined;

/** An entry that a client adds to the record. Who acts is taken from its credential. */
@IgnoresClientFields('activity')
export class AddActivityDto {
  /**
   * What happened: under `custom.`, because everything else is recorded by Berth itself.
   * @example 'custom.deployed'
   */
  @Matches(/^custom\.[\w.-]{1,100}$/, {
    message: 'action must begin with "custom." and go on with letters, digits, dots, dashes or underscores',
  })
  action: string;

  /** Kind of the thing that it is about, given together with its id; the company unless given. */
  @ValidateIf(namesSubject)
  @IsString()
  @IsNotEmpty()
  @MaxLength(200)
  entityType?: string;

  /** Id of the thing that it is about. */
  @ValidateIf(namesSubject)
  @IsString()
  @IsNotEmpty()
  @MaxLength(200)
  entityId?: string;

  /** The agent that it concerns. An agent can name itself only. */
  @IsOptional()
  @IsUUID()
  agentId?: string | null;

  /** The run that it concerns. An agent can name its own runs only. */
  @IsOptional()
  @IsUUID()
  runId?: string | null;

  /** Anything else, up to 16 KiB of JSON. Values of fields that are named like secrets are redacted. */
  @IsOptional()
  @IsObject()
  @MaxJsonBytes(16 * 1024)
  details?: Record<string, unknown> | null;
}

/** Where a stream of the record starts. */
export class ActivityStreamQueryDto {
  /** Where to resume, for clients that cannot send the `Last-Event-ID` header: the id of the last event seen. */
  @IsOptional()
  @IsString()
  @MaxLength(10_000)
  lastEventId?: string;

  /** Without an event to resume after: `now` (the default) or the `start` of the record. */
  @IsOptional()
  @Matches(/^(now|start)$/, { message: 'from must be "now" or "start"' })
  from?: 'now' | 'start';
}

/** One entry of the record of state changes. */
export class ActivityResponse {
  id: string;
  companyId: string;
  /** Who caused it. */
  actorType: 'agent' | 'user' | 'system' | 'plugin';
  actorId: string;
  /** What happened. */
  action: string;
  /** Kind of the thing that changed. */
  entityType: string;
  entityId: string;
  /** The agent that it concerns, or that caused it. */
  agentId: string | null;
  /** The run that it concerns, or on whose behalf it was caused. */
  runId: string | null;
  details: Record<string, unknown>;
  createdAt: Date;

  static from(entry: RowOf<Activity, 'seq'>): ActivityResponse {
    const { id, companyId, actorType, actorId, action, entityType, entityId, details, createdAt } = entry;
    const { agentId = null, runId = null } = entry;
    return { id, companyId, actorType, actorId, action, entityType, entityId, agentId, runId, details, createdAt };
  }
}
