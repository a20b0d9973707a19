import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { CredentialResolvers, type CredentialResolver } from '../auth/credential-resolvers.js';
import { parseToken, sameHash, tokenPrefix } from '../auth/token.js';
import type { Actor } from '../events/actor.js';

interface KeyRow {
  token_hash: Buffer;
  company_id: string;
  agent_id: string;
  use_is_noted: boolean;
}

/** Honours agent API keys, as long as they are not revoked and their agent is not terminated. */
@Injectable()
export class AgentKeyResolver implements CredentialResolver, OnModuleInit {
  readonly prefix = tokenPrefix('agent');
  private readonly logger = new Logger(AgentKeyResolver.name);

  constructor(
    private readonly em: EntityManager,
    private readonly credentials: CredentialResolvers,
  ) {}

  onModuleInit(): void {
    this.credentials.register(this);
  }

  async resolve(token: string): Promise<Actor | null> {
    const shown = parseToken('agent', token);
    if (!shown) return null;
    const [key] = await this.em.execute<KeyRow[]>(
      `select key.token_hash, key.company_id, key.agent_id,
              coalesce(key.last_used_at > now() - interval '1 minute', false) as use_is_noted
         from agent_api_keys key
         join agents agent on agent.company_id = key.company_id and agent.id = key.agent_id
        where key.id = ? and key.revoked_at is null and agent.status <> 'terminated'`,
      [shown.id],
    );
    if (!key || !sameHash(shown.hash, key.token_hash)) return null;
    if (!key.use_is_noted) this.noteUse(shown.id);
    return { type: 'agent', id: key.agent_id, companyId: key.company_id, runId: null };
  }

  /** Not in the request's way: it neither waits for this nor fails with it. */
  private noteUse(keyId: string): void {
    this.em
      .fork()
      .execute(
        `update agent_api_keys set last_used_at = now()
          where id = ? and (last_used_at is null or last_used_at < now() - interval '1 minute')`,
        [keyId],
      )
      .catch((error: unknown) => this.logger.warn({ err: error, keyId }, 'The use of a key was not noted'));
  }
}
