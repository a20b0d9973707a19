import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { idFromCursor, MAX_PAGE, Page, type PageRequest } from '../database/page.js';
import { inTransaction } from '../database/transaction.js';
import { DomainEvents } from '../events/domain-events.js';
import { currentActor } from '../events/request-scope.js';
import { IssueComment } from './issue-comment.entity.js';
import type { Issue } from './issue.entity.js';
import { IssueCommented } from './issues.events.js';

/** Which comments of an issue are asked for. */
export interface CommentsRequest extends PageRequest {
  readonly afterCommentId?: string;
  readonly order: 'asc' | 'desc';
}

/** What is said about issues. The caller has found the issue, and so may see and say what it likes. */
@Injectable()
export class IssueCommentsService {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
  ) {}

  async list(
    issue: Issue,
    { limit = MAX_PAGE, cursor, afterCommentId, order }: CommentsRequest,
  ): Promise<Page<IssueComment>> {
    const after = [idFromCursor(cursor), afterCommentId ?? null].filter((id) => id !== null);
    const beyond = after.map((id) => ({ id: order === 'asc' ? { $gt: id } : { $lt: id } }));
    const where = { $and: [{ companyId: issue.companyId, issueId: issue.id }, ...beyond] };
    const rows = await this.em.find(IssueComment, where, { orderBy: { id: order }, limit: limit + 1 });
    return Page.of(rows, limit, ({ id }) => id);
  }

  /** Adds a comment of the current actor. Flushed before it is told, so that listeners can read it. */
  async add(issue: Issue, body: string): Promise<IssueComment> {
    return inTransaction(this.em, async () => {
      const actor = currentActor();
      const author =
        actor.type === 'agent' ? { agentId: actor.id, runId: actor.runId } : { agentId: null, runId: null };
      const comment = this.em.create(IssueComment, {
        companyId: issue.companyId,
        issueId: issue.id,
        authorType: actor.type,
        authorAgentId: author.agentId,
        createdByRunId: author.runId,
        body,
      });
      await this.em.flush();
      await this.events.record(new IssueCommented(issue, comment.id, author));
      return comment;
    });
  }
}
