import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { AgentHealth } from './agent-health.js';
import { CommentPolicy, type CommentVerdict } from './comment-policy.js';
import type { EndedRun } from '../runs/ended-run.js';
import { Promotions } from './promotions.js';
import { Retries, type Retry } from './retries.js';
import { TerminalTransitions } from './terminal-transitions.js';

/**
 * What follows from the end of runs, decided in the transaction that ends them: at most one successor each, and for
 * each issue at most one thing that becomes live.
 */
@Injectable()
export class Successors {
  constructor(
    private readonly em: EntityManager,
    private readonly retries: Retries,
    private readonly comments: CommentPolicy,
    private readonly promotions: Promotions,
    private readonly health: AgentHealth,
    private readonly transitions: TerminalTransitions,
  ) {}

  async settle(ended: EndedRun[]): Promise<void> {
    await this.health.follow(ended);
    const wakeable = await this.wakeableAgents(ended);
    const verdicts = new Map<string, CommentVerdict>();
    for (const run of ended) {
      const isWakeable = wakeable.has(run.agentId) && !run.isUnwanted;
      const verdict = await this.judge(run, isWakeable);
      if (run.issueId) verdicts.set(run.id, verdict);
      const retry = isWakeable ? this.retryOf(run, verdict) : null;
      if (retry) await this.retries.make(run, retry);
      if (run.status === 'succeeded' && run.issueId) await this.supersede(run);
    }
    await this.keep(verdicts);
    const freed = ended.flatMap((run) => (run.issueId ? [run.issueId] : []));
    // The retries have to be seen by what looks for live runs.
    if (freed.length > 0) await this.em.flush();
    await this.promotions.promote([...new Set(freed)]);
  }

  /** A loss, a shutdown or a transient failure has its own retry; any other end is held to the comment policy. */
  private async judge(run: EndedRun, wakeable: boolean): Promise<CommentVerdict> {
    const isExcused = run.status === 'cancelled' || run.leaseId === null || this.retries.isExcused(run);
    return isExcused ? 'not_applicable' : this.comments.judge(run, wakeable);
  }

  private retryOf(run: EndedRun, verdict: CommentVerdict): Retry | null {
    if (run.status === 'cancelled') return null;
    return verdict === 'retry_queued' ? { reason: 'missing_issue_comment', notBefore: null } : this.retries.after(run);
  }

  private async keep(verdicts: Map<string, CommentVerdict>): Promise<void> {
    if (verdicts.size === 0) return;
    await this.em.execute(
      `update heartbeat_runs r set issue_comment_status = x.value
       from jsonb_each_text(?::jsonb) x where r.id = x.key::uuid`,
      [JSON.stringify(Object.fromEntries(verdicts))],
    );
  }

  /** The agent has done the work: what it had scheduled to try again on that issue is not needed any more. */
  private async supersede(run: EndedRun): Promise<void> {
    const rows = await this.em.execute<{ id: string }[]>(
      `select id from heartbeat_runs
       where company_id = ? and issue_id = ? and agent_id = ? and status = 'scheduled_retry' for no key update`,
      [run.companyId, run.issueId, run.agentId],
    );
    const message = 'A later run of the agent on this issue has succeeded';
    await this.transitions.endWaiting(
      rows.map(({ id: runId }) => ({ runId, status: 'cancelled', code: 'superseded', message })),
    );
  }

  private async wakeableAgents(ended: EndedRun[]): Promise<Set<string>> {
    const rows = await this.em.execute<{ id: string }[]>(
      `select a.id from agents a join companies c on c.id = a.company_id
       where a.id = any(?::uuid[]) and a.status not in ('terminated', 'paused') and c.status = 'active'`,
      [`{${ended.map((run) => run.agentId).join(',')}}`],
    );
    return new Set(rows.map(({ id }) => id));
  }
}
