import { Injectable } from '@nestjs/common';
import { InTransaction } from '../../events/listeners.js';
import type { Actor } from '../../events/actor.js';
import { IssueAssigned, IssueCommented, IssueReopened } from '../../issues/issues.events.js';
import { WakeService } from './wake.service.js';

/**
 * Wakes agents for what happens to issues, in the transaction in which it happens. A wake that does not suit (the agent
 * is paused, terminated, ...) is skipped with its reason and never fails what it is born of.
 */
@Injectable()
export class IssueWakes {
  constructor(private readonly wakes: WakeService) {}

  @InTransaction(IssueAssigned)
  async assigned(event: IssueAssigned, actor: Actor): Promise<void> {
    if (event.isOpen) await this.wake(event.assigneeAgentId, actor, event.issueId, 'issue_assigned', 'assignment');
  }

  @InTransaction(IssueReopened)
  async reopened(event: IssueReopened, actor: Actor): Promise<void> {
    if (event.assigneeAgentId) await this.wake(event.assigneeAgentId, actor, event.issueId, 'issue_reopened');
  }

  @InTransaction(IssueCommented)
  async commented(event: IssueCommented, actor: Actor): Promise<void> {
    if (event.isResult) return;
    const { issueId, commentId, assigneeAgentId, mentionedAgentIds } = event;
    const mentioned = mentionedAgentIds.filter((id) => id !== assigneeAgentId || !event.isOpen);
    // In id order, like every lock of several agents.
    const wakes = new Map(mentioned.map((id) => [id, 'issue_comment_mentioned']));
    if (assigneeAgentId && event.isOpen) wakes.set(assigneeAgentId, 'issue_commented');
    for (const [agentId, reason] of [...wakes].sort(([a], [b]) => a.localeCompare(b))) {
      await this.wake(agentId, actor, issueId, reason, 'automation', commentId);
    }
  }

  /** What an agent does itself never wakes it. */
  private async wake(
    agentId: string,
    actor: Actor,
    issueId: string,
    reason: string,
    source: 'assignment' | 'automation' = 'automation',
    commentId?: string,
  ): Promise<void> {
    if (actor.type === 'agent' && actor.id === agentId) return;
    const payload = { issueId, ...(commentId ? { commentId } : {}) };
    await this.wakes.wakeForEvent({ agentId, source, triggerDetail: 'system', reason, payload });
  }
}
