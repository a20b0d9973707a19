import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { validate } from 'uuid';
import { canSeeCompany } from '../auth/access.js';
import { OwnedThings } from '../auth/owned-things.js';
import { CompaniesService } from '../companies/companies.service.js';
import { assertRoomFor } from '../companies/company-quotas.js';
import { assertUsableEnvironment } from '../companies/environment-reference.js';
import { EntityRows, type RowOf } from '../database/entity-rows.js';
import type { Page, PageRequest } from '../database/page.js';
import { inTransaction } from '../database/transaction.js';
import { InvalidInputError, NotFoundError } from '../errors/domain-error.js';
import { DomainEvents } from '../events/domain-events.js';
import { currentActor } from '../events/request-scope.js';
import type { SecretReference } from '../secrets/secret-reference.js';
import { SecretReferences } from '../secrets/secret-references.service.js';
import { AdapterCatalog } from './adapter-catalog.js';
import { AgentNameAmbiguousError, AgentTerminatedError, NotAnAgentError } from './agent-errors.js';
import type { CreateAgentDto, UpdateAgentDto } from './agent.dto.js';
import { Agent } from './agent.entity.js';
import { AgentCreated, AgentUpdated } from './agents.events.js';
import { validateRuntimeConfig } from './runtime-config.js';

const DEFAULT_ADAPTER = 'process';
const AGENTS = new EntityRows(Agent);

@Injectable()
export class AgentsService implements OnModuleInit {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly companies: CompaniesService,
    private readonly adapters: AdapterCatalog,
    private readonly things: OwnedThings,
    private readonly secrets: SecretReferences,
  ) {}

  onModuleInit(): void {
    this.things.register('agents', (id) => this.require(id));
  }

  /**
   * The company's agents, newest first, terminated ones included.
   * @throws NotFoundError
   */
  async list(companyId: string, request: PageRequest): Promise<Page<RowOf<Agent>>> {
    await this.companies.assertExists(companyId);
    return AGENTS.pageOfCompany(this.em, companyId, [['deleted_at is null']], request);
  }

  /**
   * The agent, for a caller that may see it.
   * @throws NotFoundError when it does not exist, was deleted, or is another company's.
   */
  async require(agentId: string): Promise<Agent> {
    const agent = await this.em.findOne(Agent, { id: agentId, deletedAt: null });
    if (!agent || !canSeeCompany(agent.companyId)) throw new NotFoundError('Agent');
    return agent;
  }

  /**
   * Finds an agent by id, or by name (in any case) within a company; an agent that asks means its own company.
   * @throws NotFoundError, AgentNameAmbiguousError, InvalidInputError when a name comes without a company.
   */
  async find(ref: string, companyId?: string): Promise<Agent> {
    if (!validate(ref)) return this.findByName(ref, companyId);
    const agent = await this.require(ref);
    if (companyId !== undefined && agent.companyId !== companyId.toLowerCase()) throw new NotFoundError('Agent');
    return agent;
  }

  /** @throws NotAnAgentError when the caller is no agent. */
  async me(): Promise<Agent> {
    const actor = currentActor();
    if (actor.type !== 'agent') throw new NotAnAgentError();
    return this.require(actor.id);
  }

  /** @throws NotFoundError, CompanyArchivedError, UnknownAdapterError, InvalidInputError, UnusableEnvironmentError, SecretNotFoundError, QuotaReachedError */
  async create(companyId: string, fields: CreateAgentDto): Promise<Agent> {
    return inTransaction(this.em, async () => {
      await this.companies.requireActive(companyId);
      await assertRoomFor(this.em, companyId, 'agents');
      const { adapterType = DEFAULT_ADAPTER, adapterConfig = {}, runtimeConfig = {}, metadata, ...rest } = fields;
      const agent = this.em.create(Agent, {
        ...rest,
        companyId,
        adapterType,
        adapterConfig,
        runtimeConfig,
        metadata: metadata ?? {},
      });
      await this.check(agent, { environment: true });
      const references = await this.settleSecrets(agent);
      agent.planTimer(await this.now());
      await this.em.flush();
      if (references.length > 0) await this.secrets.keep(companyId, { agentId: agent.id }, references);
      await this.events.record(new AgentCreated(companyId, agent.id, { name: agent.name, adapterType }));
      return agent;
    });
  }

  /** @throws NotFoundError, AgentTerminatedError, UnknownAdapterError, InvalidInputError, UnusableEnvironmentError, SecretNotFoundError */
  async update(agentId: string, { replaceAdapterConfig, ...changes }: UpdateAgentDto): Promise<Agent> {
    return inTransaction(this.em, async () => {
      const agent = await this.lock(agentId);
      if (agent.status === 'terminated') throw new AgentTerminatedError(agentId);
      const fields = agent.change(changes, { replaceAdapterConfig });
      if (fields.length === 0) return agent;
      await this.check(agent, { environment: fields.includes('defaultEnvironmentId') });
      if (fields.includes('adapterConfig')) {
        await this.secrets.keep(agent.companyId, { agentId }, await this.settleSecrets(agent));
      }
      if (fields.includes('runtimeConfig')) agent.planTimer(await this.now());
      await this.em.flush();
      await this.events.record(new AgentUpdated(agent.companyId, agentId, { fields }));
      return agent;
    });
  }

  /**
   * The agent for an operator who is about to change it, its row held until the transaction ends. In the order of
   * locks it comes after the company and before issues and runs.
   * @throws NotFoundError
   */
  async lock(agentId: string): Promise<Agent> {
    await this.require(agentId);
    await this.em.execute('select id from agents where id = ? for no key update', [agentId]);
    const agent = await this.em.findOne(Agent, { id: agentId, deletedAt: null }, { refresh: true });
    if (!agent) throw new NotFoundError('Agent');
    return agent;
  }

  /** The database's clock, by which timers are due. */
  async now(): Promise<Date> {
    const [{ now }] = await this.em.execute<[{ now: string }]>('select clock_timestamp() as now');
    return new Date(now);
  }

  /** What an agent's columns cannot check by themselves. */
  private async check(agent: Agent, { environment }: { environment: boolean }): Promise<void> {
    this.adapters.validate(agent.adapterType, agent.adapterConfig);
    validateRuntimeConfig(agent.runtimeConfig);
    if (environment && agent.defaultEnvironmentId) {
      await assertUsableEnvironment(this.em, agent.companyId, agent.defaultEnvironmentId);
    }
  }

  /** Has its config name secrets by their ids. */
  private async settleSecrets(agent: Agent): Promise<SecretReference[]> {
    const settled = await this.secrets.settle(agent.companyId, agent.adapterConfig, 'adapterConfig');
    agent.change({ adapterConfig: settled.config }, { replaceAdapterConfig: true });
    return settled.references;
  }

  private async findByName(name: string, companyId?: string): Promise<Agent> {
    const actor = currentActor();
    const within = companyId ?? (actor.type === 'agent' ? actor.companyId : undefined);
    if (within === undefined) {
      throw new InvalidInputError('To find an agent by name, say in which company: ?companyId=', [
        { field: 'companyId', message: 'is needed with a name' },
      ]);
    }
    await this.companies.assertExists(within);
    const rows = await this.em.execute<{ id: string }[]>(
      'select id from agents where company_id = ? and lower(name) = lower(?) and deleted_at is null order by id limit 10',
      [within, name],
    );
    const ids = rows.map(({ id }) => id);
    const [only] = ids;
    if (only === undefined) throw new NotFoundError('Agent');
    if (ids.length > 1) throw new AgentNameAmbiguousError(name, ids);
    return this.require(only);
  }
}
