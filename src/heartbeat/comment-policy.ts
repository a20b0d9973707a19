import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { IssueCommentsService } from '../issues/issue-comments.service.js';
import type { EndedRun } from './ended-run.js';

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
  ) {}

  /**
   * Judges a run that ended by itself. A succeeded one that left a result but no comment gets that posted first.
   * @param wakeable whether its agent could be asked once more.
   */
  async judge(run: EndedRun, wakeable: boolean): Promise<CommentVerdict> {
    if (!run.issueId) return 'not_applicable';
    const commented = (await this.hasCommented(run)) || (await this.postResult(run));
    if (!reasonsOf(run).some((reason) => ANSWER_EXPECTED.has(reason))) return 'not_applicable';
    if (commented) return 'satisfied';
    if (await this.wasAskedBefore(run)) return 'retry_exhausted';
    if (!wakeable || (await this.isAnsweredOtherwise(run))) return 'not_applicable';
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

  /**
   * A comment that waits for the same agent brings it back to the issue anyway, and an issue that went to another agent
   * or is gone needs no answer from this one: asking once more would start it twice.
   */
  private async isAnsweredOtherwise(run: EndedRun): Promise<boolean> {
    const [row] = await this.em.execute<{ answered: boolean }[]>(
      `select i.deleted_at is not null or i.assignee_agent_id is distinct from ?::uuid
         or exists (select 1 from agent_wakeup_requests w
           where w.issue_id = i.id and w.agent_id = ?::uuid and w.status = 'deferred_issue_execution'
             and exists (select 1 from issue_comments c where c.issue_id = i.id
               and w.payload -> 'wakeCommentIds' @> to_jsonb(c.id::text))) as answered
       from issues i where i.id = ?`,
      [run.agentId, run.agentId, run.issueId],
    );
    return row?.answered ?? true;
  }
}

/** Every reason that the run stands for: of the wake that made it, and of those that joined it. */
function reasonsOf({ contextSnapshot: { wakeReason, wakeReasons } }: EndedRun): string[] {
  return [...(wakeReasons ?? []), ...(wakeReason ? [wakeReason] : [])];
}
