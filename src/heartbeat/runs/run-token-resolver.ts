import { Injectable, type OnModuleInit } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { CredentialResolvers, type CredentialResolver } from '../../auth/credential-resolvers.js';
import { parseToken, sameHash, tokenPrefix } from '../../auth/token.js';
import type { Actor } from '../../events/actor.js';

/** Honours a run's own token for as long as the run is running. */
@Injectable()
export class RunTokenResolver implements CredentialResolver, OnModuleInit {
  readonly prefix = tokenPrefix('run');

  constructor(
    private readonly em: EntityManager,
    private readonly resolvers: CredentialResolvers,
  ) {}

  onModuleInit(): void {
    this.resolvers.register(this);
  }

  async resolve(token: string): Promise<Actor | null> {
    const shown = parseToken('run', token);
    if (!shown) return null;
    const [run] = await this.em.execute<{ token_hash: Buffer; agent_id: string; company_id: string }[]>(
      `select token_hash, agent_id, company_id from heartbeat_runs where id = ? and status = 'running'`,
      [shown.id],
    );
    if (!run || !sameHash(shown.hash, run.token_hash)) return null;
    return { type: 'agent', id: run.agent_id, companyId: run.company_id, runId: shown.id };
  }
}
