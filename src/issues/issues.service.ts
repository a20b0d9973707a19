import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { validate } from 'uuid';
import { assertOperator, canSeeCompany } from '../auth/access.js';
import { OwnedThings } from '../auth/owned-things.js';
import { CompaniesService } from '../companies/companies.service.js';
import { CompanyArchivedError, UnusableEnvironmentError } from '../companies/company-errors.js';
import { assertUsableEnvironment } from '../companies/environment-reference.js';
import { violatedConstraint } from '../database/database-errors.js';
import { EntityRows, type Condition, type RowOf } from '../database/entity-rows.js';
import type { Page } from '../database/page.js';
import { inTransaction } from '../database/transaction.js';
import { NotFoundError } from '../errors/domain-error.js';
import { DomainEvents } from '../events/domain-events.js';
import type { IssueComment } from './issue-comment.entity.js';
import { IssueCommentsService } from './issue-comments.service.js';
import { IssueHasLiveRunError, UnknownAssigneeError, UnusableWorkspaceError } from './issue-errors.js';
import { lockAgents, lockIssue, type LockedIssue } from './issue-locks.js';
import { assertUsableWorkspace } from './issue-references.js';
import type { CreateIssueDto, IssuesQueryDto, UpdateIssueDto } from './issue.dto.js';
import { isOpenStatus, Issue, type IssueChanges } from './issue.entity.js';
import {
  IssueAssigned,
  IssueCreated,
  IssueDeleted,
  IssueReopened,
  IssueStatusChanged,
  IssueUnassigned,
  IssueUpdated,
  type IssueState,
} from './issues.events.js';

/** Where an issue's runs go is for operators to choose. */
const PLACE_FIELDS = ['environmentId', 'executionWorkspaceId'];
const ISSUES = new EntityRows(Issue);
const IDENTIFIER = /^[A-Z][A-Z0-9]{0,9}-[1-9][0-9]{0,9}$/;

/**
 * Locks are taken in the order company, agent, issue, because telling of an assignment or a comment may wake an agent
 * in the same transaction. Places are locked last, after everything is told.
 */
@Injectable()
export class IssuesService implements OnModuleInit {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly companies: CompaniesService,
    private readonly comments: IssueCommentsService,
    private readonly things: OwnedThings,
  ) {}

  onModuleInit(): void {
    this.things.register('issues', (id) => this.require(id), { named: true });
  }

  /**
   * Newest first.
   * @throws NotFoundError
   */
  async list(companyId: string, { status, assigneeAgentId, ...page }: IssuesQueryDto): Promise<Page<RowOf<Issue>>> {
    await this.companies.assertExists(companyId);
    const conditions: Condition[] = [
      ['deleted_at is null'],
      status && ['status = any(?::text[])', `{${status}}`],
      assigneeAgentId && ['assignee_agent_id = ?', assigneeAgentId],
    ];
    return ISSUES.pageOfCompany(this.em, companyId, conditions, page);
  }

  /**
   * The issue of this id or identifier (`BER-12`), for a caller that may see it.
   * @throws NotFoundError when it does not exist, was deleted, or is another company's.
   */
  async require(idOrIdentifier: string): Promise<Issue> {
    const identifier = idOrIdentifier.toUpperCase();
    const isId = validate(idOrIdentifier);
    if (!isId && !IDENTIFIER.test(identifier)) throw new NotFoundError('Issue');
    const name = isId ? { id: idOrIdentifier } : { identifier };
    const issue = await this.em.findOne(Issue, { ...name, deletedAt: null }, { refresh: true });
    if (!issue || !canSeeCompany(issue.companyId)) throw new NotFoundError('Issue');
    return issue;
  }

  /**
   * @throws NotFoundError, OperatorOnlyError when an agent says where the issue's runs go, CompanyArchivedError,
   * UnknownAssigneeError, UnusableEnvironmentError, UnusableWorkspaceError
   */
  async create(companyId: string, fields: CreateIssueDto): Promise<Issue> {
    return inTransaction(this.em, async () => {
      await this.companies.requireActive(companyId);
      if (fields.environmentId || fields.executionWorkspaceId) assertOperator();
      const name = await this.nextName(companyId);
      const assigneeAgentId = fields.assigneeAgentId?.toLowerCase() ?? null;
      if (assigneeAgentId) assertAmong(await lockAgents(this.em, companyId, [assigneeAgentId]), assigneeAgentId);
      const { status = 'todo', ...rest } = fields;
      const issue = this.em.create(Issue, { ...rest, ...name, companyId, status, assigneeAgentId });
      await this.flush(fields);
      await this.events.record(new IssueCreated(issue));
      if (assigneeAgentId) await this.events.record(new IssueAssigned({ ...stateOf(issue), assigneeAgentId }));
      await this.assertUsablePlaces(companyId, fields);
      return this.em.refreshOrFail(issue);
    });
  }

  /**
   * Changes the issue, and then adds a comment if one comes with it.
   * @throws NotFoundError, OperatorOnlyError when an agent says where the issue's runs go, IssueChangingError,
   * UnknownAssigneeError, UnusableEnvironmentError, UnusableWorkspaceError
   */
  async update(
    idOrIdentifier: string,
    { comment: body, assigneeAgentId, ...rest }: UpdateIssueDto,
  ): Promise<{ issue: Issue; comment: IssueComment | null }> {
    return inTransaction(this.em, async () => {
      const present = await this.require(idOrIdentifier);
      const changes = { ...rest, assigneeAgentId: assigneeAgentId?.toLowerCase() ?? assigneeAgentId };
      const mentioned = body === undefined ? [] : await this.comments.mentionsIn(present.companyId, body);
      const locked = await this.lock(present, mentioned, changes.assigneeAgentId);
      const { issue, fields } = await this.changeLocked(locked.issue, changes);
      if (PLACE_FIELDS.some((field) => fields.includes(field))) assertOperator();
      const comment =
        body === undefined
          ? null
          : await this.comments.addLocked({ ...locked, issue: stateOf(issue) }, body, mentioned);
      const changed = (field: 'environmentId' | 'executionWorkspaceId') =>
        fields.includes(field) ? issue[field] : null;
      await this.assertUsablePlaces(issue.companyId, {
        environmentId: changed('environmentId'),
        executionWorkspaceId: changed('executionWorkspaceId'),
      });
      return { issue: await this.em.refreshOrFail(issue), comment };
    });
  }

  /**
   * Takes the issue out of its users' sight; its row stays, because the record names it.
   * @throws NotFoundError, IssueHasLiveRunError
   */
  async delete(idOrIdentifier: string): Promise<void> {
    return inTransaction(this.em, async () => {
      const present = await this.require(idOrIdentifier);
      await this.lock(present, []);
      const issue = await this.require(present.id);
      if (issue.executionRunId) throw new IssueHasLiveRunError(issue.executionRunId);
      issue.delete(new Date());
      await this.em.flush();
      await this.events.record(new IssueDeleted(issue));
    });
  }

  /**
   * Locks the issue behind everybody that a change of it may wake: its present assignee, the new one, and whom a
   * comment calls.
   * @throws NotFoundError, IssueChangingError, UnknownAssigneeError
   */
  async lock(issue: Issue, mentioned: readonly string[], newAssignee?: string | null): Promise<LockedIssue> {
    const locked = await lockIssue(this.em, issue, newAssignee ? [...mentioned, newAssignee] : mentioned);
    if (newAssignee && newAssignee !== locked.issue.assigneeAgentId) assertAmong(locked.agentIds, newAssignee);
    return locked;
  }

  /** Changes an issue that the caller has locked, and tells of each kind of change by its own event. */
  async changeLocked(before: IssueState, changes: IssueChanges): Promise<{ issue: Issue; fields: string[] }> {
    const issue = await this.require(before.id);
    const fields = issue.change(changes);
    await this.flush(changes);
    await this.tell(issue, fields, before);
    return { issue, fields };
  }

  /** The next number of the company's issues: drawn under the company's row lock, so that none is drawn twice. */
  private async nextName(companyId: string): Promise<{ number: number; identifier: string }> {
    const [drawn] = await this.em.execute<{ issue_counter: number; issue_prefix: string }[]>(
      `update companies set issue_counter = issue_counter + 1
        where id = ? and status = 'active' returning issue_counter, issue_prefix`,
      [companyId],
    );
    if (!drawn) throw new CompanyArchivedError(companyId);
    return { number: drawn.issue_counter, identifier: `${drawn.issue_prefix}-${drawn.issue_counter}` };
  }

  private async tell(issue: Issue, fields: (keyof IssueChanges)[], before: IssueState): Promise<void> {
    const { assigneeAgentId, ...now } = stateOf(issue);
    const others = fields.filter((field) => field !== 'status' && field !== 'assigneeAgentId');
    if (others.length > 0) await this.events.record(new IssueUpdated(issue, others));
    if (fields.includes('status')) await this.events.record(new IssueStatusChanged(issue, before.status, now.status));
    if (!isOpenStatus(before.status) && isOpenStatus(now.status)) {
      await this.events.record(new IssueReopened({ ...now, assigneeAgentId }));
    }
    if (!fields.includes('assigneeAgentId')) return;
    if (assigneeAgentId) await this.events.record(new IssueAssigned({ ...now, assigneeAgentId }));
    else if (before.assigneeAgentId) await this.events.record(new IssueUnassigned(issue, before.assigneeAgentId));
  }

  /** Flushed before anything is told: whoever listens in the transaction reads the issue as it is now. */
  private async flush({ environmentId, executionWorkspaceId }: IssueChanges): Promise<void> {
    try {
      await this.em.flush();
    } catch (error) {
      const constraint = violatedConstraint(error);
      if (constraint === 'issues_environment_fk') throw UnusableEnvironmentError.missing(environmentId ?? '');
      if (constraint === 'issues_workspace_fk') throw UnusableWorkspaceError.missing(executionWorkspaceId ?? '');
      throw error;
    }
  }

  private async assertUsablePlaces(
    companyId: string,
    { environmentId, executionWorkspaceId }: Pick<IssueChanges, 'environmentId' | 'executionWorkspaceId'>,
  ): Promise<void> {
    if (environmentId) await assertUsableEnvironment(this.em, companyId, environmentId);
    if (executionWorkspaceId) await assertUsableWorkspace(this.em, companyId, executionWorkspaceId);
  }
}

const stateOf = ({ id, companyId, identifier, status, assigneeAgentId }: Issue): IssueState => ({
  id,
  companyId,
  identifier,
  status,
  assigneeAgentId,
});

/** A paused or terminated agent can be given an issue, and is then not woken; a deleted one cannot. */
function assertAmong(agentIds: ReadonlySet<string>, assigneeAgentId: string): void {
  if (!agentIds.has(assigneeAgentId)) throw new UnknownAssigneeError(assigneeAgentId);
}
