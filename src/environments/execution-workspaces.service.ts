import { EntityManager, UniqueConstraintViolationException } from '@mikro-orm/postgresql';
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { canSeeCompany } from '../auth/access.js';
import { OwnedThings } from '../auth/owned-things.js';
import { CompaniesService } from '../companies/companies.service.js';
import { assertUsableEnvironment } from '../companies/environment-reference.js';
import { EntityRows, type RowOf } from '../database/entity-rows.js';
import type { Page, PageRequest } from '../database/page.js';
import { inTransaction } from '../database/transaction.js';
import { BerthConfig } from '../config/config.js';
import { NotFoundError } from '../errors/domain-error.js';
import { DomainEvents } from '../events/domain-events.js';
import { WorkspaceNameTakenError } from './environment-errors.js';
import { EnvironmentsService } from './environments.service.js';
import type { CreateWorkspaceDto, UpdateWorkspaceDto } from './execution-workspace.dto.js';
import { ExecutionWorkspace, type WorkspaceStatus } from './execution-workspace.entity.js';
import { ThisHost } from './this-host.js';
import { WorkspaceArchived, WorkspaceCreated, WorkspaceUpdated } from './workspaces.events.js';

const WORKSPACES = new EntityRows(ExecutionWorkspace);

@Injectable()
export class ExecutionWorkspacesService implements OnModuleInit {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly companies: CompaniesService,
    private readonly environments: EnvironmentsService,
    private readonly host: ThisHost,
    private readonly config: BerthConfig,
    private readonly things: OwnedThings,
  ) {}

  onModuleInit(): void {
    this.things.register('execution-workspaces', (id) => this.require(id));
  }

  /**
   * The company's workspaces, newest first.
   * @throws NotFoundError
   */
  async list(companyId: string, request: PageRequest): Promise<Page<RowOf<ExecutionWorkspace>>> {
    await this.companies.assertExists(companyId);
    return WORKSPACES.pageOfCompany(this.em, companyId, [], request);
  }

  /**
   * The workspace, for a caller that may see it.
   * @throws NotFoundError
   */
  async require(workspaceId: string): Promise<ExecutionWorkspace> {
    const workspace = await this.em.findOne(ExecutionWorkspace, workspaceId);
    if (!workspace || !canSeeCompany(workspace.companyId)) throw new NotFoundError('Execution workspace');
    return workspace;
  }

  /** @throws NotFoundError, CompanyArchivedError, UnusableEnvironmentError, WorkspaceNameTakenError */
  async create(companyId: string, { mode = 'shared', ...fields }: CreateWorkspaceDto): Promise<ExecutionWorkspace> {
    return inTransaction(this.em, async () => {
      await this.companies.requireActive(companyId);
      await assertUsableEnvironment(this.em, companyId, fields.environmentId);
      const { driver } = await this.environments.require(fields.environmentId);
      const { host = this.hostOf(driver) } = fields;
      const workspace = this.em.create(ExecutionWorkspace, { ...fields, companyId, mode, host });
      await this.flush(workspace.name);
      const { id, name, environmentId } = workspace;
      await this.events.record(new WorkspaceCreated(companyId, id, { name, mode, environmentId }));
      return workspace;
    });
  }

  /** @throws NotFoundError, WorkspaceNameTakenError */
  async update(workspaceId: string, { status, ...changes }: UpdateWorkspaceDto): Promise<ExecutionWorkspace> {
    return inTransaction(this.em, async () => {
      const workspace = await this.lock(workspaceId);
      const { companyId } = workspace;
      const fields = workspace.change(changes);
      if (activates(workspace, status)) fields.push('status');
      await this.flush(workspace.name);
      if (fields.length > 0) await this.events.record(new WorkspaceUpdated(companyId, workspaceId, { fields }));
      if (archives(workspace, status)) await this.events.record(new WorkspaceArchived(companyId, workspaceId));
      return workspace;
    });
  }

  /** A directory of this machine is no use to a runner on another one; but where nothing runs here, it is not here. */
  private hostOf(driver: string): string | null {
    return driver === 'local' && this.config.roles.has('runner') ? this.host.id : null;
  }

  private async lock(workspaceId: string): Promise<ExecutionWorkspace> {
    await this.require(workspaceId);
    await this.em.execute('select id from execution_workspaces where id = ? for no key update', [workspaceId]);
    return this.em.findOneOrFail(ExecutionWorkspace, workspaceId, { refresh: true });
  }

  private async flush(name: string): Promise<void> {
    try {
      await this.em.flush();
    } catch (error) {
      if (!(error instanceof UniqueConstraintViolationException)) throw error;
      throw new WorkspaceNameTakenError(name);
    }
  }
}

function activates(workspace: ExecutionWorkspace, status: WorkspaceStatus | undefined): boolean {
  if (status !== 'active' || workspace.status === 'active') return false;
  workspace.activate();
  return true;
}

function archives(workspace: ExecutionWorkspace, status: WorkspaceStatus | undefined): boolean {
  if (status !== 'archived' || workspace.status === 'archived') return false;
  workspace.archive();
  return true;
}
