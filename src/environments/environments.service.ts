import { EntityManager, UniqueConstraintViolationException } from '@mikro-orm/postgresql';
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { canSeeCompany } from '../auth/access.js';
import { OwnedThings } from '../auth/owned-things.js';
import { assertRoomFor } from '../companies/company-quotas.js';
import { CompaniesService } from '../companies/companies.service.js';
import { violatedConstraint } from '../database/database-errors.js';
import { EntityRows, type Condition, type RowOf } from '../database/entity-rows.js';
import type { Page, PageRequest } from '../database/page.js';
import { inTransaction } from '../database/transaction.js';
import { InvalidInputError, NotFoundError } from '../errors/domain-error.js';
import { DomainEvents } from '../events/domain-events.js';
import { SecretReferences } from '../secrets/secret-references.service.js';
import { DriverRegistry } from './drivers/driver-registry.js';
import { envVarProblems } from './env-vars.js';
import {
  EnvironmentArchivedError,
  EnvironmentInUseError,
  EnvironmentNameTakenError,
  LocalEnvironmentExistsError,
} from './environment-errors.js';
import { EnvironmentUsages, isHeld, type EnvironmentUsage } from './environment-usage.js';
import type { CreateEnvironmentDto, DrainEnvironmentDto, UpdateEnvironmentDto } from './environment.dto.js';
import { Environment, type EnvironmentStatus } from './environment.entity.js';
import {
  EnvironmentActivated,
  EnvironmentArchived,
  EnvironmentCreated,
  EnvironmentDeleted,
  EnvironmentDraining,
  EnvironmentUpdated,
} from './environments.events.js';
import { holdRunsIn, holdsRunsIn } from './held-runs.js';
import { LocalEnvironments, type LocalEnvironment } from './local-environments.js';

/** Which environments a list shows. */
export interface EnvironmentFilter extends PageRequest {
  readonly status?: EnvironmentStatus;
  readonly driver?: string;
}

const ENVIRONMENTS = new EntityRows(Environment);

@Injectable()
export class EnvironmentsService implements OnModuleInit {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly companies: CompaniesService,
    private readonly drivers: DriverRegistry,
    private readonly secrets: SecretReferences,
    private readonly locals: LocalEnvironments,
    private readonly usages: EnvironmentUsages,
    private readonly things: OwnedThings,
  ) {}

  onModuleInit(): void {
    this.things.register('environments', (id) => this.require(id));
  }

  /**
   * The company's environments, newest first. A company that has no local one yet gets it now: it is where runs go
   * that say nothing else, so it is there for whoever looks.
   * @throws NotFoundError
   */
  async list(companyId: string, { status, driver, ...page }: EnvironmentFilter): Promise<Page<RowOf<Environment>>> {
    const company = await this.companies.require(companyId);
    const hasLocal = (await this.locals.find([companyId])).size > 0;
    if (!hasLocal && company.status === 'active') await inTransaction(this.em, () => this.locals.ensure([companyId]));
    const conditions: Condition[] = [
      ['deleted_at is null'],
      status && ['status = ?', status],
      driver && ['driver = ?', driver],
    ];
    return ENVIRONMENTS.pageOfCompany(this.em, companyId, conditions, page);
  }

  /**
   * The environment, for a caller that may see it.
   * @throws NotFoundError when it does not exist, was deleted, or is another company's.
   */
  async require(environmentId: string): Promise<Environment> {
    const environment = await this.em.findOne(Environment, { id: environmentId, deletedAt: null });
    if (!environment || !canSeeCompany(environment.companyId)) throw new NotFoundError('Environment');
    return environment;
  }

  /** The local environment of each company, made where there is none, in the caller's transaction. */
  ensureLocal(companyIds: readonly string[]): Promise<Map<string, LocalEnvironment>> {
    return this.locals.ensure(companyIds);
  }

  /** @throws NotFoundError, CompanyArchivedError, UnknownDriverError, InvalidInputError, SecretNotFoundError, EnvironmentNameTakenError, LocalEnvironmentExistsError, QuotaReachedError */
  async create(companyId: string, { config = {}, ...fields }: CreateEnvironmentDto): Promise<Environment> {
    return inTransaction(this.em, async () => {
      await this.companies.requireActive(companyId);
      await assertRoomFor(this.em, companyId, 'environments');
      assertEnvVars(fields.envVars);
      const valid = this.drivers.get(fields.driver).validateConfig(config);
      const { config: envVars = {}, references } = await this.secrets.settle(companyId, fields.envVars, 'envVars');
      const environment = this.em.create(Environment, { ...fields, companyId, config: valid, envVars });
      await this.flush(environment.name);
      if (references.length > 0) await this.secrets.keep(companyId, { environmentId: environment.id }, references);
      const { id, name, driver } = environment;
      await this.events.record(new EnvironmentCreated(companyId, id, { name, driver }));
      return environment;
    });
  }

  /** @throws NotFoundError, InvalidInputError, SecretNotFoundError, EnvironmentNameTakenError, EnvironmentArchivedError */
  async update(environmentId: string, { status, ...changes }: UpdateEnvironmentDto): Promise<Environment> {
    return inTransaction(this.em, async () => {
      const environment = await this.lock(environmentId);
      const { config } = changes;
      assertEnvVars(changes.envVars);
      const valid = config && this.drivers.get(environment.driver).validateConfig(config);
      const { companyId } = environment;
      const { config: envVars, references } = await this.secrets.settle(companyId, changes.envVars, 'envVars');
      const fields = environment.change({ ...changes, config: valid, envVars });
      await this.flush(environment.name);
      if (fields.includes('envVars')) await this.secrets.keep(companyId, { environmentId }, references);
      if (fields.length > 0) {
        await this.events.record(new EnvironmentUpdated(environment.companyId, environmentId, { fields }));
      }
      if (status !== undefined) await this.transit(environment, status);
      return environment;
    });
  }

  /**
   * Moves it to another state: `draining` and `archived` take no new leases, and what runs there ends by itself.
   * Repeating it changes nothing.
   * @throws NotFoundError, EnvironmentArchivedError
   */
  async changeStatus(environmentId: string, status: EnvironmentStatus): Promise<Environment> {
    return inTransaction(this.em, async () => {
      const environment = await this.lock(environmentId);
      await this.transit(environment, status);
      return environment;
    });
  }

  /**
   * Takes no new leases. Without a grace what runs there ends by itself; with one it is ended when that is over, also
   * where the environment was draining already.
   * @throws NotFoundError, EnvironmentArchivedError
   */
  async drain(environmentId: string, { graceSec, reason }: DrainEnvironmentDto): Promise<Environment> {
    if (graceSec === undefined) return this.changeStatus(environmentId, 'draining');
    for (;;) {
      const drained = await this.drainWithin(environmentId, graceSec, reason ?? null);
      if (drained) return drained;
    }
  }

  /** @returns null when a run that has just come there was held by somebody else: nothing was changed, try again. */
  private drainWithin(environmentId: string, graceSec: number, reason: string | null): Promise<Environment | null> {
    return inTransaction(this.em, async () => {
      await this.require(environmentId);
      await holdRunsIn(this.em, environmentId);
      const environment = await this.lock(environmentId);
      if (environment.status === 'archived') throw new EnvironmentArchivedError();
      if (!(await holdsRunsIn(this.em, environmentId))) return null;
      environment.drain();
      const why = `The environment "${environment.name}" is being drained${reason ? `: ${reason}` : ''}`;
      await this.events.record(
        new EnvironmentDraining(environment.companyId, environmentId, { graceSec, reason: why }),
      );
      return environment;
    });
  }

  /**
   * Takes it away from its users. The row stays, because the record names it.
   * @throws NotFoundError, EnvironmentInUseError while anything is held in it.
   */
  async delete(environmentId: string): Promise<void> {
    await inTransaction(this.em, async () => {
      const environment = await this.lock(environmentId);
      const usage = await this.usages.of(environment.companyId, environmentId);
      if (isHeld(usage)) throw new EnvironmentInUseError(usage);
      environment.delete(new Date());
      await this.events.record(
        new EnvironmentDeleted(environment.companyId, environmentId, { name: environment.name }),
      );
    });
  }

  /** @throws NotFoundError */
  async usage(environmentId: string): Promise<EnvironmentUsage> {
    const { companyId } = await this.require(environmentId);
    return this.usages.of(companyId, environmentId);
  }

  private async transit(environment: Environment, status: EnvironmentStatus): Promise<void> {
    if (environment.status === status) return;
    const { companyId, id } = environment;
    switch (status) {
      case 'draining':
        if (environment.status === 'archived') throw new EnvironmentArchivedError();
        environment.drain();
        return this.events.record(new EnvironmentDraining(companyId, id, null));
      case 'active':
        environment.activate();
        return this.events.record(new EnvironmentActivated(companyId, id));
      case 'archived':
        environment.archive();
        return this.events.record(new EnvironmentArchived(companyId, id));
    }
  }

  /** The row, held until the transaction ends: whoever is placing a run there holds it too, so one waits for the other. */
  private async lock(environmentId: string): Promise<Environment> {
    await this.require(environmentId);
    await this.em.execute('select id from environments where id = ? for no key update', [environmentId]);
    const environment = await this.em.findOne(Environment, { id: environmentId, deletedAt: null }, { refresh: true });
    if (!environment) throw new NotFoundError('Environment');
    return environment;
  }

  private async flush(name: string): Promise<void> {
    try {
      await this.em.flush();
    } catch (error) {
      if (!(error instanceof UniqueConstraintViolationException)) throw error;
      if (violatedConstraint(error) === 'environments_one_local') throw new LocalEnvironmentExistsError();
      throw new EnvironmentNameTakenError(name);
    }
  }
}

function assertEnvVars(variables: Record<string, unknown> = {}): void {
  const problems = envVarProblems('envVars', variables);
  if (problems.length > 0) throw new InvalidInputError('The environment variables cannot be used', problems);
}
