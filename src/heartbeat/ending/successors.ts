import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { AgentHealth } from './agent-health.js';
import { CommentPolicy, type CommentVerdict } from './comment-policy.js';
import type { EndedRun } from '../runs/ended-run.js';
import type { HeldAgents } from './held-agents.js';
import { Promotions } from './promotions.js';
import { Retries, type Retry } from './retries.js';

/**
 * What follows from the end of runs, decided in the transaction that ends them: at most one successor each, and for
 * each issue at most one thing that becomes live. Every step is taken for all the runs at once.
 */
@Injectable()
export class Successors {
  constructor(
    private readonly em: EntityManager,
    private readonly retries: Retries,
    private readonly comments: CommentPolicy,
    private readonly promotions: Promotions,
    private readonly health: AgentHealth,
  ) {}

  /** @param agents those that are held for it; the others have nothing to decide. */
  async settle(ended: EndedRun[], agents: HeldAgents): Promise<void> {
    const wakeable = await this.health.follow(ended, agents);
    const verdicts = await this.comments.judge(
      ended.filter((run) => !this.isExcused(run)),
      wakeable,
    );
    await this.retries.make(
      ended.flatMap((run) => {
        const retry = wakeable.has(run.agentId) && !run.isUnwanted ? this.retryOf(run, verdicts.get(run.id)) : null;
        return retry ? [[run, retry] as const] : [];
      }),
    );
    const onIssues = ended.filter(isOnIssue);
    await this.keep(onIssues, verdicts);
    await this.promotions.followUp(onIssues);
  }

  /** A loss, a shutdown or a transient failure has its own retry; any other end is held to the comment policy. */
  private isExcused(run: EndedRun): boolean {
    return run.status === 'cancelled' || run.leaseId === null || this.retries.isExcused(run);
  }

  private retryOf(run: EndedRun, verdict: CommentVerdict | undefined): Retry | null {
    if (run.status === 'cancelled') return null;
    return verdict === 'retry_queued' ? { reason: 'missing_issue_comment', notBefore: null } : this.retries.after(run);
  }

  private async keep(ended: EndedRun[], verdicts: Map<string, CommentVerdict>): Promise<void> {
    if (ended.length === 0) return;
    await this.em.execute(
      `update heartbeat_runs r set issue_comment_status = x.value
       from jsonb_each_text(?::jsonb) x where r.id = x.key::uuid`,
      [JSON.stringify(Object.fromEntries(ended.map(({ id }) => [id, verdicts.get(id) ?? 'not_applicable'])))],
    );
  }
}

const isOnIssue = (run: EndedRun): run is EndedRun & { issueId: string } => run.issueId !== null;
