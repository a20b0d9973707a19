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

/** A run on an issue, with what decides whether it has to answer there. */
interface Judged {
  readonly run: EndedRun & { readonly issueId: string };
  /** What it was asked by that expects an answer. */
  readonly expected: string[];
  /** What it left for its issue without a comment. */
  readonly result: string;
}

/** What the database says of it. */
interface Found {
  id: string;
  commented: boolean;
  /** Somewhere along its chain: a retry that asks for the comment can itself be retried, for another reason. */
  asked_before: boolean;
  is_assignee: boolean;
  issue_deleted: boolean;
}

/** A run that was asked for an answer has to leave a comment on its issue; one that does not is asked once more. */
@Injectable()
export class CommentPolicy {
  constructor(
    private readonly em: EntityManager,
    private readonly comments: IssueCommentsService,
    private readonly promotions: Promotions,
  ) {}

  /**
   * Judges runs that ended by themselves. Succeeded ones that left a result but no comment get that posted first.
   * @param wakeable the agents that could be asked once more; a run that is unwanted asks nobody.
   * @returns what it says of each run that has an issue.
   */
  async judge(ended: EndedRun[], wakeable: ReadonlySet<string>): Promise<Map<string, CommentVerdict>> {
    const judged = ended.flatMap((run) => judgedOf(run) ?? []);
    const verdicts = new Map<string, CommentVerdict>(judged.map(({ run }) => [run.id, 'not_applicable']));
    const found = await this.find(judged.filter(({ expected, result }) => expected.length > 0 || result !== ''));
    const posted = await this.postResults(judged.filter(({ run }) => found.get(run.id)?.commented === false));
    const silent: Judged[] = [];
    for (const one of judged) {
      const { id } = one.run;
      if (one.expected.length === 0) continue;
      if (found.get(id)!.commented || posted.has(id)) verdicts.set(id, 'satisfied');
      else if (found.get(id)!.asked_before) verdicts.set(id, 'retry_exhausted');
      else if (wakeable.has(one.run.agentId) && !one.run.isUnwanted && concerns(one, found.get(id)!)) silent.push(one);
    }
    for (const { run } of await this.notAnsweredOtherwise(silent)) verdicts.set(run.id, 'retry_queued');
    return verdicts;
  }

  private async find(judged: Judged[]): Promise<Map<string, Found>> {
    if (judged.length === 0) return new Map();
    const rows = await this.em.execute<Found[]>(
      `select r.id, i.assignee_agent_id is not distinct from r.agent_id as is_assignee, i.deleted_at is not null as issue_deleted,
         exists (select from issue_comments c
           where c.company_id = r.company_id and c.created_by_run_id = r.id and c.issue_id = r.issue_id) as commented,
         exists (
           with recursive chain as (
             select r.retry_of_run_id as before, r.scheduled_retry_reason as reason
             union all
             select p.retry_of_run_id, p.scheduled_retry_reason from heartbeat_runs p join chain on p.id = chain.before)
           select from chain where reason = 'missing_issue_comment') as asked_before
       from heartbeat_runs r join issues i on i.id = r.issue_id where r.id = any(?::uuid[])`,
      [`{${judged.map(({ run }) => run.id).join(',')}}`],
    );
    return new Map(rows.map((row) => [row.id, row]));
  }

  private postResults(judged: Judged[]): Promise<Set<string>> {
    const results = judged.filter(({ result }) => result !== '');
    return this.comments.addResults(
      results.map(({ run: { companyId, issueId, agentId, id: runId }, result }) => {
        return { companyId, issueId, agentId, runId, body: result };
      }),
    );
  }

  /** Leaves out whom a comment that waits will start anyway. */
  private async notAnsweredOtherwise(silent: Judged[]): Promise<Judged[]> {
    if (silent.length === 0) return [];
    const returning = await this.promotions.returningForComments(silent.map(({ run }) => run.issueId));
    return silent.filter(({ run }) => !returning.get(run.issueId)?.has(run.agentId));
  }
}

/** Whether its issue still wants the answer: one that went to another agent needs none to its assignment from this one. */
const concerns = ({ expected }: Judged, { issue_deleted, is_assignee }: Found) =>
  !issue_deleted && (is_assignee || !isForAssigneeOnly(expected));

function judgedOf(run: EndedRun): Judged | null {
  if (run.issueId === null) return null;
  const left = run.status === 'succeeded' && typeof run.resultJson?.result === 'string' ? run.resultJson.result : '';
  const expected = reasonsOf(run).filter((reason) => ANSWER_EXPECTED.has(reason));
  return { run: { ...run, issueId: run.issueId }, expected, result: left.trim() };
}

/** Every reason that the run stands for: of the wake that made it, and of those that joined it. */
function reasonsOf({ contextSnapshot: { wakeReason, wakeReasons } }: EndedRun): string[] {
  return [...(wakeReasons ?? []), ...(wakeReason ? [wakeReason] : [])];
}
