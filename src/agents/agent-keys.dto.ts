import { IsString, Length } from 'class-validator';
import type { RowOf } from '../database/entity-rows.js';
import { IgnoresClientFields } from '../http/ignored-fields.js';
import type { AgentApiKey } from './agent-api-key.entity.js';

@IgnoresClientFields('agentKey')
export class CreateAgentKeyDto {
  /**
   * What it is for.
   * @example "laptop"
   */
  @IsString()
  @Length(1, 200)
  name: string;
}

export class AgentKeyResponse {
  id: string;
  name: string;
  createdAt: Date;
  /** To about a minute. */
  lastUsedAt: Date | null;
  revokedAt: Date | null;

  static from(key: RowOf<AgentApiKey, 'tokenHash'>): AgentKeyResponse {
    const { id, name, createdAt, lastUsedAt = null, revokedAt = null } = key;
    return { id, name, createdAt, lastUsedAt, revokedAt };
  }
}

export class CreatedAgentKeyResponse {
  id: string;
  name: string;
  /** The secret: shown this once, only its hash is kept. */
  token: string;
  createdAt: Date;
}
