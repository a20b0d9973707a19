import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { EntityRows, type Condition, type RowOf } from '../database/entity-rows.js';
import type { Page, PageRequest } from '../database/page.js';
import { inTransaction } from '../database/transaction.js';
import type { Actor } from '../events/actor.js';
import { DomainEvents } from '../events/domain-events.js';
import { currentActor } from '../events/request-scope.js';
import { MAX_COMMENT_BYTES } from './issue-comment.dto.js';
import { IssueComment } from './issue-comment.entity.js';
import { lockIssue, type LockedIssue } from './issue-locks.js';
import { Issue } from './issue.entity.js';
import { IssueCommented, type IssueState } from './issues.events.js';
import { hasMentions, mentionedIds, type Named } from './mentions.js';
import { resultText } from './result-text.js';

/** Which comments of an issue are asked for. */
export interface CommentsRequest extends PageRequest {
  readonly afterCommentId?: string;
  readonly order: 'asc' | 'desc';
}

/** What a run says in the end, to be left as its agent's comment. */
export interface RunResult {
  readonly companyId: string;
  readonly issueId: string;
  readonly agentId: string;
  readonly runId: string;
  readonly body: string;
}

const COMMENTS = new EntityRows(IssueComment);

type Author = Pick<IssueComment, 'authorType' | 'authorAgentId' | 'createdByRunId'>;

/** What is said about issues. The caller has found the issue, and so may see and say what it likes. */
@Injectable()
export class IssueCommentsService {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
  ) {}

  list(issue: Issue, { afterCommentId, order, ...page }: CommentsRequest): Promise<Page<RowOf<IssueComment>>> {
    const conditions: Condition[] = [
      ['company_id = ? and issue_id = ?', issue.companyId, issue.id],
      afterCommentId && [order === 'asc' ? 'id > ?' : 'id < ?', afterCommentId],
    ];
    return COMMENTS.page(this.em, conditions, page, order);
  }

  /**
   * Comments of an issue in the order of `ids`; ids that are not its comments' are left out.
   * @param ids without repeats.
   */
  async byIds(companyId: string, issueId: string, ids: readonly string[]): Promise<IssueComment[]> {
    if (ids.length === 0) return [];
    const rows = await this.em.find(IssueComment, { companyId, issueId, id: { $in: [...ids] } });
    const found = new Map(rows.map((comment) => [comment.id, comment]));
    return ids.map((id) => found.get(id)).filter((comment) => comment !== undefined);
  }

  /**
   * Adds a comment of the current actor, with the agents that it may wake and the issue held.
   * @throws NotFoundError, IssueChangingError
   */
  async add(issue: Issue, body: string): Promise<IssueComment> {
    return inTransaction(this.em, async () => {
      const mentioned = await this.mentionsIn(issue.companyId, body);
      return this.addLocked(await lockIssue(this.em, issue, mentioned), body, mentioned);
    });
  }

  /** The same for a caller that holds the issue, its assignee, and whom of the mentioned agents there still is. */
  addLocked({ issue, agentIds }: LockedIssue, body: string, mentioned: readonly string[]): Promise<IssueComment> {
    const reachable = mentioned.filter((id) => agentIds.has(id));
    return this.write(issue, authorOf(currentActor()), body, reachable);
  }

  /** The agents of a company that a comment of the current actor would call by name. */
  async mentionsIn(companyId: string, body: string): Promise<string[]> {
    if (!hasMentions(body)) return [];
    const agents = await this.em.execute<Named[]>(
      'select id, name from agents where company_id = ? and deleted_at is null order by id',
      [companyId],
    );
    const actor = currentActor();
    return mentionedIds(body, agents, actor.type === 'agent' ? actor.id : null);
  }

  /**
   * Leaves the results of runs as their agents' comments, in the transaction that ends the runs. Takes no locks, because
   * it wakes nobody: each run's own agent is its author, and names in a result are not calls.
   * @returns the runs whose result said something.
   */
  async addResults(results: readonly RunResult[]): Promise<Set<string>> {
    const telling = results.flatMap((result) => {
      const text = resultText(result.body, MAX_COMMENT_BYTES);
      return text === null ? [] : [{ ...result, body: text }];
    });
    if (telling.length === 0) return new Set();
    const ids = telling.map(({ issueId }) => issueId);
    const rows = await this.em.find(Issue, { id: { $in: ids } }, { disableIdentityMap: true });
    const issues = new Map(rows.map((issue) => [issue.id, issue]));
    const made = telling.map(({ companyId, issueId, agentId, runId, body }) => ({
      issue: issues.get(issueId)!,
      comment: this.em.create(IssueComment, {
        companyId,
        issueId,
        authorType: 'agent',
        authorAgentId: agentId,
        createdByRunId: runId,
        body,
      }),
    }));
    await this.em.flush();
    const told = { mentionedAgentIds: [], isResult: true };
    await this.events.record(made.map(({ issue, comment }) => new IssueCommented(issue, comment, told)));
    return new Set(telling.map(({ runId }) => runId));
  }

  /** Flushed before it is told, so that listeners can read it. */
  private async write(
    issue: IssueState,
    author: Author,
    body: string,
    mentionedAgentIds: readonly string[],
  ): Promise<IssueComment> {
    const { id: issueId, companyId } = issue;
    const comment = this.em.create(IssueComment, { companyId, issueId, ...author, body });
    await this.em.flush();
    await this.events.record(new IssueCommented(issue, comment, { mentionedAgentIds, isResult: false }));
    return comment;
  }
}

const authorOf = (actor: Actor): Author =>
  actor.type === 'agent'
    ? { authorType: 'agent', authorAgentId: actor.id, createdByRunId: actor.runId }
    : { authorType: actor.type, authorAgentId: null, createdByRunId: null };
