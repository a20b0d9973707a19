import { EntityManager, UniqueConstraintViolationException } from '@mikro-orm/postgresql';
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { canSeeCompany } from '../auth/access.js';
import { OwnedThings } from '../auth/owned-things.js';
import { CompaniesService } from '../companies/companies.service.js';
import { EntityRows, type RowOf } from '../database/entity-rows.js';
import { newId } from '../database/id.js';
import type { Page, PageRequest } from '../database/page.js';
import { inTransaction } from '../database/transaction.js';
import { NotFoundError } from '../errors/domain-error.js';
import { DomainEvents } from '../events/domain-events.js';
import { SecretInUseError, SecretNameTakenError, type SecretUse } from './secret-errors.js';
import { SecretReferences } from './secret-references.service.js';
import { SecretValues } from './secret-values.js';
import type { CreateSecretDto } from './secret.dto.js';
import { Secret, type SecretChanges } from './secret.entity.js';
import { SecretCreated, SecretDeleted, SecretRotated, SecretUpdated } from './secrets.events.js';

const SECRETS = new EntityRows(Secret);

/** The secrets of companies; only operators see that there are any, and nobody what they are. */
@Injectable()
export class SecretsService implements OnModuleInit {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly companies: CompaniesService,
    private readonly values: SecretValues,
    private readonly references: SecretReferences,
    private readonly things: OwnedThings,
  ) {}

  onModuleInit(): void {
    this.things.register('secrets', (id) => this.require(id));
  }

  /**
   * The company's secrets, newest first.
   * @throws NotFoundError
   */
  async list(companyId: string, request: PageRequest): Promise<Page<RowOf<Secret>>> {
    await this.companies.assertExists(companyId);
    return SECRETS.pageOfCompany(this.em, companyId, [['deleted_at is null']], request);
  }

  /** @throws NotFoundError, CompanyArchivedError, SecretNameTakenError, SecretsKeyMismatchError, SecretsKeyUnusableError */
  async create(companyId: string, { name, description = null, value }: CreateSecretDto): Promise<Secret> {
    return inTransaction(this.em, async () => {
      await this.companies.requireActive(companyId);
      const secret = this.em.create(Secret, { id: newId(), companyId, name, description });
      await this.flush(name);
      await this.values.add({ companyId, secretId: secret.id, version: 1 }, value);
      await this.events.record(new SecretCreated(companyId, secret.id, { name }));
      return secret;
    });
  }

  /** @throws NotFoundError, SecretNameTakenError */
  async update(secretId: string, changes: SecretChanges): Promise<Secret> {
    return inTransaction(this.em, async () => {
      const secret = await this.lock(secretId);
      const fields = secret.change(changes);
      if (fields.length === 0) return secret;
      await this.flush(secret.name);
      await this.events.record(new SecretUpdated(secret.companyId, secretId, { name: secret.name, fields }));
      return secret;
    });
  }

  /**
   * Gives it a new value, which every run gets that starts from now on, unless its config names a version.
   * @throws NotFoundError, SecretsKeyMismatchError, SecretsKeyUnusableError
   */
  async rotate(secretId: string, value: string): Promise<Secret> {
    return inTransaction(this.em, async () => {
      const secret = await this.lock(secretId);
      const { companyId, name } = secret;
      const version = secret.rotate(new Date());
      await this.em.flush();
      await this.values.add({ companyId, secretId, version }, value);
      await this.events.record(new SecretRotated(companyId, secretId, { name, version }));
      return secret;
    });
  }

  /**
   * Takes it away from its users, and removes all of its values.
   * @throws NotFoundError, SecretInUseError while a config names it.
   */
  async delete(secretId: string): Promise<void> {
    await inTransaction(this.em, async () => {
      const secret = await this.lock(secretId);
      const uses = await this.references.usesOf(secretId);
      if (uses.length > 0) throw new SecretInUseError(uses);
      await this.references.forget(secretId);
      await this.values.forget(secretId);
      secret.delete(new Date());
      await this.events.record(new SecretDeleted(secret.companyId, secretId, { name: secret.name }));
    });
  }

  /** Who uses it. @throws NotFoundError */
  async usage(secretId: string): Promise<SecretUse[]> {
    await this.require(secretId);
    return this.references.usesOf(secretId);
  }

  private async require(secretId: string): Promise<Secret> {
    const secret = await this.em.findOne(Secret, { id: secretId, deletedAt: null });
    if (!secret || !canSeeCompany(secret.companyId)) throw new NotFoundError('Secret');
    return secret;
  }

  /** The row, held until the transaction ends against new references as well. It comes after agents and environments. */
  private async lock(secretId: string): Promise<Secret> {
    await this.require(secretId);
    await this.em.execute('select id from secrets where id = ? for update', [secretId]);
    const secret = await this.em.findOne(Secret, { id: secretId, deletedAt: null }, { refresh: true });
    if (!secret) throw new NotFoundError('Secret');
    return secret;
  }

  private async flush(name: string): Promise<void> {
    try {
      await this.em.flush();
    } catch (error) {
      if (!(error instanceof UniqueConstraintViolationException)) throw error;
      throw new SecretNameTakenError(name);
    }
  }
}
