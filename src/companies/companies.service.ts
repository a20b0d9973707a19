import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { assertCompanyAccess, visibleCompanies } from '../auth/access.js';
import { violatedConstraint } from '../database/database-errors.js';
import { EntityRows, type RowOf } from '../database/entity-rows.js';
import type { Page, PageRequest } from '../database/page.js';
import { inTransaction } from '../database/transaction.js';
import { NotFoundError } from '../errors/domain-error.js';
import { DomainEvents } from '../events/domain-events.js';
import type { CreateCompanyDto, UpdateCompanyDto } from './company.dto.js';
import { CompanyArchived, CompanyCreated, CompanyUpdated } from './companies.events.js';
import { CompanyArchivedError, IssuePrefixTakenError } from './company-errors.js';
import { Company } from './company.entity.js';
import { assertUsableEnvironment } from './environment-reference.js';
import { freePrefix, lockPrefixes } from './issue-prefix.js';

const COMPANIES = new EntityRows(Company);

@Injectable()
export class CompaniesService {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
  ) {}

  /** Newest first; those that the caller can see. */
  list(request: PageRequest): Promise<Page<RowOf<Company>>> {
    const visible = visibleCompanies();
    return COMPANIES.page(this.em, [visible !== null && ['id = any(?::uuid[])', `{${visible.join(',')}}`]], request);
  }

  /**
   * For what lists something of a company, and needs no more of it than that it is there.
   * @throws NotFoundError when it does not exist or is not the caller's.
   */
  async assertExists(companyId: string): Promise<void> {
    assertCompanyAccess(companyId);
    const found = await this.em.execute('select 1 from companies where id = ?', [companyId]);
    if (found.length === 0) throw new NotFoundError('Company');
  }

  /**
   * The company, for a caller that may see it.
   * @throws NotFoundError when it does not exist or is not the caller's.
   */
  async require(companyId: string): Promise<Company> {
    assertCompanyAccess(companyId);
    const company = await this.em.findOne(Company, companyId);
    if (!company) throw new NotFoundError('Company');
    return company;
  }

  /** @throws NotFoundError, CompanyArchivedError when nothing new may be made in it. */
  async requireActive(companyId: string): Promise<Company> {
    const company = await this.require(companyId);
    if (company.status === 'archived') throw new CompanyArchivedError(companyId);
    return company;
  }

  /** @throws IssuePrefixTakenError */
  async create({ name, description = null, issuePrefix }: CreateCompanyDto): Promise<Company> {
    return inTransaction(this.em, async () => {
      await lockPrefixes(this.em);
      const prefix = issuePrefix ?? (await freePrefix(this.em, name));
      const company = this.em.create(Company, { name, description, issuePrefix: prefix });
      await this.flushPrefix(prefix);
      await this.events.record(new CompanyCreated(company.id, { name, issuePrefix: prefix }));
      return company;
    });
  }

  /** @throws NotFoundError, UnusableEnvironmentError */
  async update(companyId: string, changes: UpdateCompanyDto): Promise<Company> {
    return inTransaction(this.em, async () => {
      const company = await this.lock(companyId);
      const fields = company.change(changes);
      if (fields.length === 0) return company;
      if (fields.includes('defaultEnvironmentId') && company.defaultEnvironmentId) {
        await assertUsableEnvironment(this.em, companyId, company.defaultEnvironmentId);
      }
      await this.events.record(new CompanyUpdated(companyId, fields));
      return company;
    });
  }

  /**
   * Takes no new wakes from now on; what runs ends by itself. Repeating it changes nothing.
   * @throws NotFoundError
   */
  async archive(companyId: string): Promise<Company> {
    return inTransaction(this.em, async () => {
      const company = await this.lock(companyId);
      if (company.status === 'archived') return company;
      company.archive(new Date());
      await this.events.record(new CompanyArchived(companyId));
      return company;
    });
  }

  /** The row, held until the transaction ends: the first lock in the order of locks. */
  private async lock(companyId: string): Promise<Company> {
    assertCompanyAccess(companyId);
    await this.em.execute('select id from companies where id = ? for no key update', [companyId]);
    const company = await this.em.findOne(Company, companyId, { refresh: true });
    if (!company) throw new NotFoundError('Company');
    return company;
  }

  private async flushPrefix(prefix: string): Promise<void> {
    try {
      await this.em.flush();
    } catch (error) {
      if (violatedConstraint(error) === 'companies_issue_prefix_unique') throw new IssuePrefixTakenError(prefix);
      throw error;
    }
  }
}
