import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { CredentialResolvers, type CredentialResolver } from '../auth/credential-resolvers.js';
import { isUseNoted, noteUse } from '../auth/key-use.js';
import { keyPrefix, parseKey } from '../auth/key-token.js';
import { sameHash } from '../auth/token-hash.js';
import type { Caller } from '../events/actor.js';

interface KeyRow {
  token_hash: Buffer;
  company_id: string;
  agent_id: string;
  use_is_noted: boolean;
}

/** Honours agent API keys, as long as they are not revoked and their agent is not terminated. */
@Injectable()
export class AgentKeyResolver implements CredentialResolver, OnModuleInit {
  readonly prefix = keyPrefix('agent');

  constructor(
    private readonly em: EntityManager,
    private readonly credentials: CredentialResolvers,
  ) {}

  onModuleInit(): void {
    this.credentials.register(this);
  }

  async resolve(token: string): Promise<Caller | null> {
    const shown = parseKey('agent', token);
    if (!shown) return null;
    const [key] = await this.em.execute<KeyRow[]>(
      `select key.token_hash, key.company_id, key.agent_id,
              ${isUseNoted('agent')} as use_is_noted
         from agent_api_keys key
         join agents agent on agent.company_id = key.company_id and agent.id = key.agent_id
        where key.id = ? and key.revoked_at is null and agent.status <> 'terminated'`,
      [shown.id],
    );
    if (!key || !sameHash(shown.hash, key.token_hash)) return null;
    if (!key.use_is_noted) noteUse(this.em, 'agent', shown.id);
    return { type: 'agent', id: key.agent_id, companyId: key.company_id, runId: null };
  }
}
