import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { inTransaction } from '../../database/transaction.js';
import { DomainEvents } from '../../events/domain-events.js';
import { isForAssigneeOnly } from '../wakes/assignee-wakes.js';
import { HeartbeatRunEvent, statusEvent } from '../runs/heartbeat-run-event.entity.js';
import { HeartbeatQueued, HeartbeatSkipped } from '../runs/heartbeat.events.js';
import { QueueRun } from '../wakes/queue-run.js';
import { TerminalTransitions } from './terminal-transitions.js';
import { WakeupRequest } from '../runs/wakeup-request.entity.js';

/** A wake or a due retry that waits for its issue to be free. */
interface Waiting {
  kind: 'wake' | 'retry';
  id: string;
  issue_id: string;
  company_id: string;
  agent_id: string;
  reasons: string[];
  agent_status: string;
  company_status: string;
  issue_closed: boolean;
  issue_deleted: boolean;
  has_comment: boolean;
  is_assignee: boolean;
}

/** Issues looked at in one pass. */
const PAGE = 50;

/** Lets what waits for an issue have it once it is free: exactly one thing at a time, the oldest that is still wanted. */
@Injectable()
export class Promotions {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly queue: QueueRun,
    private readonly transitions: TerminalTransitions,
  ) {}

  /** Looks for issues on which something waits and nothing is live: whoever freed them may have died since. */
  async sweep(): Promise<void> {
    const rows = await this.em.execute<{ issue_id: string }[]>(
      `select distinct w.issue_id from agent_wakeup_requests w
       where w.status = 'deferred_issue_execution' and not exists (select 1 from heartbeat_runs r
         where r.issue_id = w.issue_id and r.status in ('queued', 'running')) limit ?`,
      [PAGE],
    );
    if (rows.length === 0) return;
    await inTransaction(this.em, async () => {
      const held = await this.em.execute<{ id: string }[]>(
        `select id from issues where id = any(?::uuid[]) order by id for no key update skip locked`,
        [`{${rows.map((row) => row.issue_id).join(',')}}`],
      );
      await this.promote(held.map(({ id }) => id));
    });
  }

  /** For each free one of the issues, which the caller holds, the oldest valid wake or due retry becomes live. */
  async promote(issueIds: string[]): Promise<void> {
    if (issueIds.length === 0) return;
    const agents = await this.tryLockWaitingAgents(issueIds);
    const waiting = await this.waitingFor(issueIds);
    const served = new Set<string>();
    for (const one of waiting) {
      if (served.has(one.issue_id)) continue;
      const reason = agents.has(one.agent_id) ? pointless(one) : null;
      // Whoever holds the agent may be pausing it: the next pass decides.
      if (reason) await this.end(one, reason);
      else served.add(one.issue_id);
      if (!reason && agents.has(one.agent_id)) await this.start(one);
    }
  }

  /** Whether a comment waits that will bring the agent back to its issue, on which nothing is live. */
  async hasComment(issueId: string, agentId: string): Promise<boolean> {
    const waiting = await this.waitingFor([issueId]);
    return waiting.some((one) => one.agent_id === agentId && one.has_comment && pointless(one) === null);
  }

  /** A statement of its own: only a snapshot taken after the locks sees what their last holders did. */
  private waitingFor(issueIds: string[]): Promise<Waiting[]> {
    return this.em.execute<Waiting[]>(
      `select x.*, a.status as agent_status, c.status as company_status, i.assignee_agent_id = x.agent_id as is_assignee,
         i.deleted_at is not null as issue_deleted, i.status in ('done', 'cancelled') as issue_closed
       from (
         select 'wake' as kind, w.id, w.issue_id, w.company_id, w.agent_id,
           exists (select 1 from issue_comments c where c.issue_id = w.issue_id
             and w.payload -> 'wakeCommentIds' @> to_jsonb(c.id::text)) as has_comment,
           coalesce(w.payload -> 'wakeReasons', '[]') || coalesce(jsonb_build_array(w.reason) - 'null', '[]') as reasons
         from agent_wakeup_requests w where w.issue_id = any(?::uuid[]) and w.status = 'deferred_issue_execution'
         union all
         select 'retry', r.id, r.issue_id, r.company_id, r.agent_id, false, coalesce(r.context_snapshot -> 'wakeReasons', '[]')
         from heartbeat_runs r where r.issue_id = any(?::uuid[]) and r.status = 'scheduled_retry'
           and r.due_at <= clock_timestamp()) x
       join agents a on a.id = x.agent_id join companies c on c.id = x.company_id join issues i on i.id = x.issue_id
       where not exists (select 1 from heartbeat_runs l where l.issue_id = x.issue_id and l.status in ('queued', 'running'))
       order by x.id`,
      [`{${issueIds.join(',')}}`, `{${issueIds.join(',')}}`],
    );
  }

  /** The issues are held already, so an agent that somebody else holds is not waited for. */
  private async tryLockWaitingAgents(issueIds: string[]): Promise<Set<string>> {
    const ids = `{${issueIds.join(',')}}`;
    const rows = await this.em.execute<{ id: string }[]>(
      `select id from agents where id in (
         select agent_id from agent_wakeup_requests where issue_id = any(?::uuid[]) and status = 'deferred_issue_execution'
         union all
         select agent_id from heartbeat_runs where issue_id = any(?::uuid[]) and status = 'scheduled_retry')
       order by id for no key update skip locked`,
      [ids, ids],
    );
    return new Set(rows.map(({ id }) => id));
  }

  private async start(one: Waiting): Promise<void> {
    if (one.kind === 'wake') {
      await this.queue.queue(await this.em.findOneOrFail(WakeupRequest, one.id));
      return;
    }
    const [run] = await this.em.execute<{ id: string }[]>(
      `update heartbeat_runs set status = 'queued', updated_at = now()
       where id = ? and status = 'scheduled_retry' returning id`,
      [one.id],
    );
    if (!run) return;
    const ref = { id: one.id, companyId: one.company_id, agentId: one.agent_id };
    this.em.create(HeartbeatRunEvent, statusEvent(ref, 'queued'));
    await this.events.record(new HeartbeatQueued(ref, { source: 'retry', issueId: one.issue_id }));
  }

  private async end(one: Waiting, reason: string): Promise<void> {
    if (one.kind === 'retry') {
      const message = `The retry became pointless: ${reason}`;
      await this.transitions.endWaiting([{ runId: one.id, status: 'cancelled', code: reason, message }]);
      return;
    }
    const wake = await this.em.findOneOrFail(WakeupRequest, one.id);
    wake.cancel(reason, new Date());
    await this.events.record(new HeartbeatSkipped({ ...wake.ref(), reason }));
  }
}

/** @returns why nobody wants it any more, or null. */
function pointless(one: Waiting): string | null {
  if (one.company_status === 'archived') return 'company_archived';
  if (one.agent_status === 'terminated') return 'agent_terminated';
  if (one.agent_status === 'paused') return 'agent_paused';
  if (one.issue_deleted) return 'issue_deleted';
  if (!one.is_assignee && isForAssigneeOnly(one.reasons)) return 'issue_reassigned';
  return one.issue_closed && !one.has_comment ? 'issue_closed' : null;
}
