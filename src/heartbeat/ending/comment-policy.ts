import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { IssueCommentsService } from '../../issues/issue-comments.service.js';
import { isForAssigneeOnly } from '../wakes/assignee-wakes.js';
import type { EndedRun } from '../runs/ended-run.js';
import { Promotions } from './promotions.js';

/** What the policy says of a run that has ended. */
export type CommentVerdict = 'not_applicable' | 'satisfied' | 'retry_queued' | 'retry_exhausted';

/** Wakes that ask for an answer on the issue. */
const ANSWER_EXPECTED: ReadonlySet<string> = new Set([
  'issue_assigned',
  'execution_review_requested',
  'execution_approval_requested',
  'execution_changes_requested',
]);

/** A run that was asked for an answer has to leave a comment on its issue; one that does not is asked once more. */
@Injectable()
export class CommentPolicy {
  constructor(
    private readonly em: EntityManager,
    private readonly comments: IssueCommentsService,
    private readonly promotions: Promotions,
  ) {}

  /**
   * Judges a run that ended by itself. A succeeded one that left a result but no comment gets that posted first.
   * @param wakeable whether its agent could be asked once more.
   */
  async judge(run: EndedRun, wakeable: boolean): Promise<CommentVerdict> {
    if (!run.issueId) return 'not_applicable';
    const commented = (await this.hasCommented(run)) || (await this.postResult(run));
    const expected = reasonsOf(run).filter((reason) => ANSWER_EXPECTED.has(reason));
    if (expected.length === 0) return 'not_applicable';
    if (commented) return 'satisfied';
    if (await this.wasAskedBefore(run)) return 'retry_exhausted';
    if (!wakeable || (await this.isAnsweredOtherwise(run, expected))) return 'not_applicable';
    return 'retry_queued';
  }

  /** Looks along the whole chain: a retry that asks for the comment can itself be retried, for another reason. */
  private async wasAskedBefore(run: EndedRun): Promise<boolean> {
    const rows = await this.em.execute<object[]>(
      `with recursive chain as (
         select retry_of_run_id, scheduled_retry_reason from heartbeat_runs where id = ?
         union all
         select r.retry_of_run_id, r.scheduled_retry_reason
         from heartbeat_runs r join chain on r.id = chain.retry_of_run_id)
       select 1 from chain where scheduled_retry_reason = 'missing_issue_comment' limit 1`,
      [run.id],
    );
    return rows.length > 0;
  }

  private async hasCommented(run: EndedRun): Promise<boolean> {
    const rows = await this.em.execute<object[]>(
      `select 1 from issue_comments where company_id = ? and created_by_run_id = ? and issue_id = ? limit 1`,
      [run.companyId, run.id, run.issueId],
    );
    return rows.length > 0;
  }

  private async postResult(run: EndedRun): Promise<boolean> {
    const body = typeof run.resultJson?.result === 'string' ? run.resultJson.result.trim() : '';
    if (run.status !== 'succeeded' || body === '') return false;
    const { companyId, issueId, agentId, id: runId } = run;
    await this.comments.addResult({ companyId, issueId: issueId!, agentId, runId, body });
    return true;
  }

  /** Whether asking the agent once more would start it twice, or for nothing. */
  private async isAnsweredOtherwise({ issueId, agentId }: EndedRun, expected: string[]): Promise<boolean> {
    const [issue] = await this.em.execute<{ is_assignee: boolean }[]>(
      `select assignee_agent_id is not distinct from ?::uuid as is_assignee from issues where id = ? and deleted_at is null`,
      [agentId, issueId],
    );
    // An issue that went to another agent needs no answer to its assignment from this one.
    if (!issue || (!issue.is_assignee && isForAssigneeOnly(expected))) return true;
    return this.promotions.hasComment(issueId!, agentId);
  }
}

/** Every reason that the run stands for: of the wake that made it, and of those that joined it. */
function reasonsOf({ contextSnapshot: { wakeReason, wakeReasons } }: EndedRun): string[] {
  return [...(wakeReasons ?? []), ...(wakeReason ? [wakeReason] : [])];
}
