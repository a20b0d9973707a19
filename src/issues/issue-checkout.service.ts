import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { inTransaction } from '../database/transaction.js';
import { currentActor } from '../events/request-scope.js';
import { CheckoutForOthersError, IssueHeldError } from './issue-errors.js';
import { type Issue, type IssueStatus, isOpenStatus } from './issue.entity.js';
import { IssuesService } from './issues.service.js';

/** From where an issue is taken up unless the caller says otherwise. */
const USUALLY_EXPECTED: readonly IssueStatus[] = ['todo', 'backlog', 'blocked'];

/** How agents take up an issue and give it back, so that two never both think that it is theirs. */
@Injectable()
export class IssueCheckoutService {
  constructor(
    private readonly em: EntityManager,
    private readonly issues: IssuesService,
  ) {}

  /**
   * Gives the issue to an agent and moves it to `in_progress`. Repeating it changes nothing.
   * @throws NotFoundError, CheckoutForOthersError, UnknownAssigneeError, IssueChangingError, and IssueHeldError when
   * another agent has the issue or its status is not an expected one.
   */
  async checkout(idOrIdentifier: string, agentId: string, expected = USUALLY_EXPECTED): Promise<Issue> {
    return inTransaction(this.em, async () => {
      const present = await this.issues.require(idOrIdentifier);
      const actor = currentActor();
      if (actor.type === 'agent' && actor.id !== agentId) throw new CheckoutForOthersError();
      const locked = await this.issues.lock(present, [], agentId);
      const { status, assigneeAgentId } = locked.issue;
      const isFree = !assigneeAgentId || assigneeAgentId === agentId;
      const isTakenUp = assigneeAgentId === agentId && status === 'in_progress';
      if (!isFree || !(isTakenUp || expected.includes(status))) throw new IssueHeldError(locked.issue);
      const { issue } = await this.issues.changeLocked(locked.issue, {
        status: 'in_progress',
        assigneeAgentId: agentId,
      });
      return this.em.refreshOrFail(issue);
    });
  }

  /**
   * Takes the issue from its agent; an open one goes back to `todo`. Repeating it changes nothing.
   * @throws NotFoundError, IssueChangingError, and IssueHeldError when an agent asks for another one's issue.
   */
  async release(idOrIdentifier: string): Promise<Issue> {
    return inTransaction(this.em, async () => {
      const locked = await this.issues.lock(await this.issues.require(idOrIdentifier), []);
      const { status, assigneeAgentId } = locked.issue;
      const actor = currentActor();
      if (actor.type === 'agent' && assigneeAgentId && assigneeAgentId !== actor.id) {
        throw new IssueHeldError(locked.issue);
      }
      const { issue } = await this.issues.changeLocked(locked.issue, {
        status: isOpenStatus(status) ? 'todo' : status,
        assigneeAgentId: null,
      });
      return this.em.refreshOrFail(issue);
    });
  }
}
