import { ApiProperty } from '@nestjs/swagger';
import { IsBoolean, IsObject, IsOptional, IsString, IsUUID, Length, MaxLength } from 'class-validator';
import type { RowOf } from '../database/entity-rows.js';
import { currentActor } from '../events/request-scope.js';
import { IfGiven } from '../http/if-given.js';
import { IgnoresClientFields } from '../http/ignored-fields.js';
import { withoutSecrets } from '../redaction/secret-names.js';
import { MaxJsonBytes } from '../http/max-json-bytes.js';
import { AGENT_STATUSES, visibleStatusOf, type Agent, type AgentStatus } from './agent.entity.js';

/** How large each of an agent's configs may be, as JSON. */
const MAX_CONFIG_BYTES = 65_536;
/** How long the reason of a pause may be, in characters. */
export const MAX_PAUSE_REASON = 500;

@IgnoresClientFields('agent')
export class CreateAgentDto {
  /**
   * What people call it.
   * @example "deckhand"
   */
  @IsString()
  @Length(1, 200)
  name: string;

  /** What it does, in one word. */
  @IfGiven()
  @IsString()
  @Length(1, 100)
  role?: string;

  @IsOptional()
  @IsString()
  @MaxLength(200)
  title?: string | null;

  /** How it is executed: `process`, `http`. */
  @IfGiven()
  @IsString()
  @Length(1, 100)
  adapterType?: string;

  /**
   * What its adapter needs to know; checked by that adapter. In `env`, `headers` and `payloadTemplate` a secret can be named
   * where a string may stand: `{ "secretRef": "<id or name>", "version"?: 3 }`; it is answered by its id.
   * @example { "command": "sh", "args": ["-c", "echo hello"] }
   */
  @IfGiven()
  @IsObject()
  @MaxJsonBytes(MAX_CONFIG_BYTES)
  adapterConfig?: Record<string, unknown>;

  /**
   * How it wants to be woken: `heartbeat` has `enabled`, `intervalSec`, `wakeOnDemand`, `maxConcurrentRuns`.
   * @example { "heartbeat": { "maxConcurrentRuns": 1 } }
   */
  @IfGiven()
  @IsObject()
  @MaxJsonBytes(MAX_CONFIG_BYTES)
  runtimeConfig?: Record<string, unknown>;

  /** Where its runs go unless their issue says otherwise; null for the company's default. */
  @IsOptional()
  @IsUUID()
  defaultEnvironmentId?: string | null;

  /** Anything its owner wants to keep with it. */
  @IsOptional()
  @IsObject()
  @MaxJsonBytes(MAX_CONFIG_BYTES)
  metadata?: Record<string, unknown> | null;
}

@IgnoresClientFields('agent')
export class UpdateAgentDto {
  @IfGiven()
  @IsString()
  @Length(1, 200)
  name?: string;

  @IfGiven()
  @IsString()
  @Length(1, 100)
  role?: string;

  @IsOptional()
  @IsString()
  @MaxLength(200)
  title?: string | null;

  /** Another adapter starts with an empty config. */
  @IfGiven()
  @IsString()
  @Length(1, 100)
  adapterType?: string;

  /** Its keys are written over those of the present config, unless `replaceAdapterConfig` is set. */
  @IfGiven()
  @IsObject()
  @MaxJsonBytes(MAX_CONFIG_BYTES)
  adapterConfig?: Record<string, unknown>;

  /** Whether `adapterConfig` takes the place of the present config as a whole. */
  @IfGiven()
  @IsBoolean()
  replaceAdapterConfig?: boolean;

  /** Takes the place of the present one as a whole. */
  @IfGiven()
  @IsObject()
  @MaxJsonBytes(MAX_CONFIG_BYTES)
  runtimeConfig?: Record<string, unknown>;

  /** Where its runs go unless their issue says otherwise; null for the company's default. */
  @IsOptional()
  @IsUUID()
  defaultEnvironmentId?: string | null;

  @IsOptional()
  @IsObject()
  @MaxJsonBytes(MAX_CONFIG_BYTES)
  metadata?: Record<string, unknown> | null;
}

export class PauseAgentDto {
  /** Why, for whoever looks at it later. */
  @IsOptional()
  @IsString()
  @MaxLength(MAX_PAUSE_REASON)
  reason?: string | null;

  /** Lets what runs and waits end by itself; otherwise it is cancelled. */
  @IfGiven()
  @IsBoolean()
  drain?: boolean;
}

export class FindAgentQueryDto {
  /** The company in which to look for it; needed to find one by name. */
  @IfGiven()
  @IsUUID()
  companyId?: string;
}

export class AgentResponse {
  id: string;
  companyId: string;
  name: string;
  role: string;
  title: string | null;
  @ApiProperty({ enum: AGENT_STATUSES })
  status: AgentStatus;
  adapterType: string;
  /** Empty for agents that look at another one. */
  adapterConfig: Record<string, unknown>;
  runtimeConfig: Record<string, unknown>;
  defaultEnvironmentId: string | null;
  pauseReason: string | null;
  pausedAt: Date | null;
  lastHeartbeatAt: Date | null;
  metadata: Record<string, unknown>;
  createdAt: Date;
  updatedAt: Date;

  /** As the caller may see it: an agent's config is its own and the operators' business. */
  static from(agent: RowOf<Agent>): AgentResponse {
    const actor = currentActor();
    const isOthers = actor.type === 'agent' && actor.id !== agent.id;
    return {
      id: agent.id,
      companyId: agent.companyId,
      name: agent.name,
      role: agent.role,
      title: agent.title ?? null,
      status: visibleStatusOf(agent),
      adapterType: agent.adapterType,
      adapterConfig: isOthers ? {} : agent.adapterConfig,
      runtimeConfig: agent.runtimeConfig,
      defaultEnvironmentId: agent.defaultEnvironmentId ?? null,
      pauseReason: agent.pauseReason ?? null,
      pausedAt: agent.pausedAt ?? null,
      lastHeartbeatAt: agent.lastHeartbeatAt ?? null,
      metadata: isOthers ? withoutSecrets(agent.metadata) : agent.metadata,
      createdAt: agent.createdAt,
      updatedAt: agent.updatedAt,
    };
  }
}
