import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { inTransaction } from '../../database/transaction.js';
import { DomainEvents } from '../../events/domain-events.js';
import { isForAssigneeOnly } from '../wakes/assignee-wakes.js';
import type { EndedRun } from '../runs/ended-run.js';
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

/** One that nobody wants any more, and why. */
interface Pointless extends Waiting {
  reason: string;
}

/** A run that has ended on an issue. */
type EndedOnIssue = EndedRun & { readonly issueId: string };

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
       where w.deferred_issue_id is not null and not exists (select 1 from heartbeat_runs r
         where r.issue_id = w.issue_id and r.status in ('queued', 'running')) limit ?`,
      [PAGE],
    );
    if (rows.length === 0) return;
    await inTransaction(this.em, async () => {
      const held = await this.em.execute<{ id: string }[]>(
        `select id from issues where id = any(?::uuid[]) order by id for no key update skip locked`,
        [`{${rows.map((row) => row.issue_id).join(',')}}`],
      );
      if (held.length > 0) await this.promote(held.map(({ id }) => id));
    });
  }

  /**
   * What follows on the issues of runs that have ended, all of which the caller holds: a success makes what its agent had
   * scheduled to try again there superfluous, and what waits for a free issue gets it.
   */
  async followUp(ended: EndedOnIssue[]): Promise<void> {
    const issueIds = [...new Set(ended.map((run) => run.issueId))];
    const scheduled = await this.whatWaitsOn(issueIds);
    if (scheduled === null) return;
    const done = new Set(ended.filter((run) => run.status === 'succeeded').map((run) => run.issueId + run.agentId));
    await this.supersede(scheduled.filter((retry) => done.has(retry.issue_id + retry.agent_id)).map(({ id }) => id));
    // The retries of the ended runs have to be seen by what looks for live runs.
    await this.em.flush();
    await this.promote(issueIds);
  }

  /** Agents that a comment will bring back to an issue, by issue: it waits there, and nothing is live. */
  async returningForComments(issueIds: string[]): Promise<Map<string, Set<string>>> {
    const returning = new Map<string, Set<string>>();
    for (const one of await this.waitingFor(issueIds)) {
      if (!one.has_comment || pointless(one) !== null) continue;
      returning.set(one.issue_id, (returning.get(one.issue_id) ?? new Set()).add(one.agent_id));
    }
    return returning;
  }

  /**
   * Nothing does mostly, and then nothing has to be locked: whatever begins to wait needs the issue.
   * @returns the scheduled retries, or null where no wake waits either.
   */
  private async whatWaitsOn(issueIds: string[]) {
    if (issueIds.length === 0) return null;
    const ids = `{${issueIds.join(',')}}`;
    const rows = await this.em.execute<{ id: string | null; issue_id: string; agent_id: string }[]>(
      `select null as id, issue_id, agent_id from agent_wakeup_requests
       where deferred_issue_id = any(?::uuid[])
       union all
       select id, issue_id, agent_id from heartbeat_runs where issue_id = any(?::uuid[]) and status = 'scheduled_retry'`,
      [ids, ids],
    );
    return rows.length === 0 ? null : rows.flatMap(({ id, ...retry }) => (id === null ? [] : [{ id, ...retry }]));
  }

  private async supersede(retryIds: string[]): Promise<void> {
    if (retryIds.length === 0) return;
    const rows = await this.em.execute<{ id: string }[]>(
      `select id from heartbeat_runs where id = any(?::uuid[]) and status = 'scheduled_retry' order by id for no key update`,
      [`{${retryIds.join(',')}}`],
    );
    const message = 'A later run of the agent on this issue has succeeded';
    await this.transitions.endWaiting(
      rows.map(({ id: runId }) => ({ runId, status: 'cancelled', code: 'superseded', message })),
    );
  }

  /** For each free one of the issues, which the caller holds, the oldest valid wake or due retry becomes live. */
  private async promote(issueIds: string[]): Promise<void> {
    const agents = await this.tryLockWaitingAgents(issueIds);
    const waiting = await this.waitingFor(issueIds);
    const served = new Set<string>();
    const starting: Waiting[] = [];
    const ending: Pointless[] = [];
    for (const one of waiting) {
      if (served.has(one.issue_id)) continue;
      const reason = agents.has(one.agent_id) ? pointless(one) : null;
      // Whoever holds the agent may be pausing it: the next pass decides.
      if (reason !== null) ending.push({ ...one, reason });
      else served.add(one.issue_id);
      if (reason === null && agents.has(one.agent_id)) starting.push(one);
    }
    const wakes = await this.wakesAmong([...starting, ...ending]);
    await this.end(ending, wakes);
    await this.start(starting, wakes);
  }

  /** A statement of its own: only a snapshot taken after the locks sees what their last holders did. */
  private waitingFor(issueIds: string[]): Promise<Waiting[]> {
    return this.em.execute<Waiting[]>(
      `select x.*, a.status as agent_status, c.status as company_status, i.assignee_agent_id = x.agent_id as is_assignee,
         i.deleted_at is not null as issue_deleted, i.status in ('done', 'cancelled') as issue_closed
       from (
         select 'wake' as kind, w.id, w.issue_id, w.company_id, w.agent_id,
           exists (select 1 from issue_comments c where c.company_id = w.company_id and c.issue_id = w.issue_id
             and w.payload -> 'wakeCommentIds' @> to_jsonb(c.id::text)) as has_comment,
           coalesce(w.payload -> 'wakeReasons', '[]') || coalesce(jsonb_build_array(w.reason) - 'null', '[]') as reasons
         from agent_wakeup_requests w where w.deferred_issue_id = any(?::uuid[])
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
         select agent_id from agent_wakeup_requests where deferred_issue_id = any(?::uuid[])
         union all
         select agent_id from heartbeat_runs where issue_id = any(?::uuid[]) and status = 'scheduled_retry')
       order by id for no key update skip locked`,
      [ids, ids],
    );
    return new Set(rows.map(({ id }) => id));
  }

  private async wakesAmong(waiting: Waiting[]): Promise<Map<string, WakeupRequest>> {
    const ids = idsOf(waiting, 'wake');
    const wakes = ids.length === 0 ? [] : await this.em.find(WakeupRequest, { id: { $in: ids } });
    return new Map(wakes.map((wake) => [wake.id, wake]));
  }

  private async start(starting: Waiting[], wakes: Map<string, WakeupRequest>): Promise<void> {
    for (const id of idsOf(starting, 'wake')) {
      const wake = wakes.get(id)!;
      await this.queue.queue(wake);
      this.em.remove(wake);
    }
    const retryIds = idsOf(starting, 'retry');
    if (retryIds.length === 0) return;
    const runs = await this.em.execute<{ id: string; company_id: string; agent_id: string; issue_id: string }[]>(
      `update heartbeat_runs set status = 'queued', updated_at = now()
       where id = any(?::uuid[]) and status = 'scheduled_retry' returning id, company_id, agent_id, issue_id`,
      [`{${retryIds.join(',')}}`],
    );
    await this.events.record(
      runs.map(({ id, company_id: companyId, agent_id: agentId, issue_id: issueId }) => {
        return new HeartbeatQueued({ id, companyId, agentId }, { source: 'retry', issueId });
      }),
    );
  }

  private async end(ending: Pointless[], wakes: Map<string, WakeupRequest>): Promise<void> {
    await this.transitions.endWaiting(
      ending
        .filter(({ kind }) => kind === 'retry')
        .map(({ id: runId, reason: code }) => {
          return { runId, status: 'cancelled', code, message: `The retry became pointless: ${code}` };
        }),
    );
    await this.events.record(
      ending
        .filter(({ kind }) => kind === 'wake')
        .map(({ id, reason }) => {
          const wake = wakes.get(id)!;
          wake.cancel(reason, new Date());
          return new HeartbeatSkipped({ ...wake.ref(), reason });
        }),
    );
  }
}

const idsOf = (waiting: Waiting[], kind: Waiting['kind']) =>
  waiting.filter((one) => one.kind === kind).map(({ id }) => id);

/** @returns why nobody wants it any more, or null. */
function pointless(one: Waiting): string | null {
  if (one.company_status === 'archived') return 'company_archived';
  if (one.agent_status === 'terminated') return 'agent_terminated';
  if (one.agent_status === 'paused') return 'agent_paused';
  if (one.issue_deleted) return 'issue_deleted';
  if (!one.is_assignee && isForAssigneeOnly(one.reasons)) return 'issue_reassigned';
  return one.issue_closed && !one.has_comment ? 'issue_closed' : null;
}
