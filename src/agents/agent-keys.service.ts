import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { mintKey } from '../auth/key-token.js';
import { EntityRows, type RowOf } from '../database/entity-rows.js';
import { newId } from '../database/id.js';
import type { Page, PageRequest } from '../database/page.js';
import { inTransaction } from '../database/transaction.js';
import { NotFoundError } from '../errors/domain-error.js';
import { DomainEvents } from '../events/domain-events.js';
import { AgentApiKey } from './agent-api-key.entity.js';
import { AgentTerminatedError } from './agent-errors.js';
import { AgentKeyCreated, AgentKeyRevoked } from './agents.events.js';
import { AgentsService } from './agents.service.js';

const KEYS = new EntityRows(AgentApiKey, ['tokenHash']);

/** The long-lived credentials of agents; only operators see or change them. */
@Injectable()
export class AgentKeysService {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly agents: AgentsService,
  ) {}

  /**
   * Newest first, revoked ones included.
   * @throws NotFoundError
   */
  async list(agentId: string, request: PageRequest): Promise<Page<RowOf<AgentApiKey, 'tokenHash'>>> {
    const { companyId } = await this.agents.require(agentId);
    const of = ['company_id = ? and agent_id = ?', companyId, agentId] as const;
    return KEYS.page(this.em, [of], request);
  }

  /**
   * @returns the key, and the token that nobody can ask for again.
   * @throws NotFoundError, AgentTerminatedError
   */
  async create(agentId: string, name: string): Promise<{ key: AgentApiKey; token: string }> {
    return inTransaction(this.em, async () => {
      const { companyId, status } = await this.agents.lock(agentId);
      if (status === 'terminated') throw new AgentTerminatedError(agentId);
      const id = newId();
      const { token, hash } = mintKey('agent', id);
      const key = this.em.create(AgentApiKey, { id, companyId, agentId, name, tokenHash: hash });
      await this.em.flush();
      await this.events.record(new AgentKeyCreated({ id, companyId, agentId, name }));
      return { key, token };
    });
  }

  /**
   * From the next request on the key stands for nobody. Repeating it changes nothing.
   * @throws NotFoundError
   */
  async revoke(agentId: string, keyId: string): Promise<void> {
    return inTransaction(this.em, async () => {
      const { companyId } = await this.agents.lock(agentId);
      const key = await this.em.findOne(AgentApiKey, { id: keyId, companyId, agentId });
      if (!key) throw new NotFoundError('Key');
      if (key.revokedAt) return;
      key.revoke(new Date());
      await this.events.record(new AgentKeyRevoked({ id: keyId, companyId, agentId, name: key.name }));
    });
  }
}
