import { defineEntity, p } from '@mikro-orm/core';
import { createdAtColumn, idColumn, timeColumn } from '../database/columns.js';

const AgentApiKeySchema = defineEntity({
  name: 'AgentApiKey',
  tableName: 'agent_api_keys',
  properties: {
    id: idColumn(),
    companyId: p.uuid(),
    agentId: p.uuid(),
    name: p.text(),
    tokenHash: p.blob(),
    lastUsedAt: timeColumn().nullable(),
    revokedAt: timeColumn().nullable(),
    createdAt: createdAtColumn(),
  },
});

/** A long-lived credential of an agent; only its hash is kept. */
export class AgentApiKey extends AgentApiKeySchema.class {
  revoke(at: Date): void {
    this.revokedAt = at;
  }
}
AgentApiKeySchema.setClass(AgentApiKey);
