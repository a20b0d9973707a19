import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { DomainEvents } from '../events/domain-events.js';
import { EndLeases } from '../leases/end-leases.js';
import { ENDED_COLUMNS, endedRun, type EndedRow, type EndedRun } from './ended-run.js';
import { HeartbeatRunEvent } from './heartbeat-run-event.entity.js';
import type { TerminalRunStatus } from './heartbeat-run.entity.js';
import { HeartbeatCancelled, HeartbeatFailed, HeartbeatSucceeded, HeartbeatTimedOut } from './heartbeat.events.js';
import { leaseStatusFor, type RunOutcome } from './run-outcome.js';
import { Successors } from './successors.js';

/** How one running run ends. */
export interface RunEnd {
  readonly runId: string;
  readonly leaseId: string;
  readonly outcome: RunOutcome;
  /** What the holder shows; null where the caller has checked otherwise that it may end the run. */
  readonly fencingToken: number | null;
}

/** A waiting run that will never start, and why. */
export interface Refusal {
  readonly runId: string;
  readonly code: string;
  readonly message: string;
}

/**
 * Ends runs: the only writer of their terminal states, and terminal is final. A run, its lease and its wakeup end in
 * the caller's transaction, which holds the issues of the runs; whatever follows from the end is decided there too.
 */
@Injectable()
export class EndRuns {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly leases: EndLeases,
    private readonly successors: Successors,
  ) {}

  /** Holds the issues of runs, so that no wake decides about them meanwhile. Comes before any run is locked. */
  async lockIssuesOf(runIds: string[]): Promise<void> {
    await this.em.execute(
      `select i.id from issues i where i.id in (select r.issue_id from heartbeat_runs r where r.id = any(?::uuid[]))
       order by i.id for no key update`,
      [`{${runIds.join(',')}}`],
    );
  }

  /** Holds those of the issues that nobody else holds; for a caller that holds runs already. */
  async tryLockIssues(issueIds: string[]): Promise<Set<string>> {
    if (issueIds.length === 0) return new Set();
    const rows = await this.em.execute<{ id: string }[]>(
      `select id from issues where id = any(?::uuid[]) order by id for no key update skip locked`,
      [`{${issueIds.join(',')}}`],
    );
    return new Set(rows.map(({ id }) => id));
  }

  /**
   * Ends running runs that hold the given leases; a cancel wish makes any end a cancellation. With a fencing token,
   * only while that lease is held: active, unexpired, under that token.
   * @returns the runs that this call ended; what is missing was ended before, or is not the caller's any more.
   */
  async endRunning(ends: RunEnd[]): Promise<EndedRun[]> {
    const rows = await this.em.execute<EndedRow[]>(
      `with ended as (
         update heartbeat_runs r
         set status = case when r.cancel_requested_at is null then x.status else 'cancelled' end,
           error = case when r.cancel_requested_at is null then x.error else coalesce(r.cancel_reason, 'Cancelled') end,
           error_code = case when r.cancel_requested_at is null then x."errorCode" else 'cancelled' end,
           exit_code = x."exitCode", signal = x.signal, result_json = x."resultJson", usage_json = x."usageJson",
           stdout_excerpt = coalesce(x."stdoutExcerpt", r.stdout_excerpt),
           stderr_excerpt = coalesce(x."stderrExcerpt", r.stderr_excerpt),
           finished_at = clock_timestamp(), updated_at = now()
         from jsonb_to_recordset(?::jsonb) as x("runId" uuid, "leaseId" uuid, "fencingToken" bigint, status text,
           error text, "errorCode" text, "exitCode" integer, signal text, "resultJson" jsonb, "usageJson" jsonb,
           "stdoutExcerpt" text, "stderrExcerpt" text)
         where r.id = x."runId" and r.lease_id = x."leaseId" and r.status = 'running'
           and (x."fencingToken" is null or exists (select 1 from environment_leases l where l.id = x."leaseId"
             and l.fencing_token = x."fencingToken" and l.status = 'active' and l.expires_at > clock_timestamp()))
         returning ${ENDED_COLUMNS}),
       ${FINISH_WAKEUPS}
       select * from ended`,
      [JSON.stringify(ends.map(({ outcome, ...end }) => ({ ...end, ...outcome })))],
    );
    const ended = rows.map(endedRun);
    await this.recordEnds(ended);
    await this.leases.end(
      ended.map(({ leaseId, agentId, status, error, errorCode }) => ({
        id: leaseId!,
        status: leaseStatusFor(status, errorCode),
        reason: status === 'succeeded' ? null : (error ?? errorCode),
        agentId,
      })),
    );
    await this.successors.settle(ended);
    return ended;
  }

  /** Fails waiting runs that can never start: they never had a lease. The caller holds the runs. */
  async refuse(refusals: Refusal[]): Promise<EndedRun[]> {
    return this.endWaiting(refusals.map(({ runId, code, message }) => ({ runId, status: 'failed', code, message })));
  }

  /** Cancels waiting runs at once. */
  async cancelWaiting(runIds: string[], reason: string): Promise<EndedRun[]> {
    return this.endWaiting(runIds.map((runId) => ({ runId, status: 'cancelled', code: 'cancelled', message: reason })));
  }

  private async endWaiting(
    ends: { runId: string; status: TerminalRunStatus; code: string; message: string }[],
  ): Promise<EndedRun[]> {
    if (ends.length === 0) return [];
    const rows = await this.em.execute<EndedRow[]>(
      `with ended as (
         update heartbeat_runs r
         set status = x.status, error = x.message, error_code = x.code, waiting_reason = null,
           finished_at = clock_timestamp(), updated_at = now()
         from jsonb_to_recordset(?::jsonb) as x("runId" uuid, status text, code text, message text)
         where r.id = x."runId" and r.status in ('queued', 'scheduled_retry')
         returning ${ENDED_COLUMNS}),
       ${FINISH_WAKEUPS}
       select * from ended`,
      [JSON.stringify(ends)],
    );
    const ended = rows.map(endedRun);
    await this.recordEnds(ended);
    await this.successors.settle(ended);
    return ended;
  }

  private async recordEnds(ended: EndedRun[]): Promise<void> {
    for (const run of ended) {
      this.em.create(HeartbeatRunEvent, {
        companyId: run.companyId,
        runId: run.id,
        agentId: run.agentId,
        eventType: 'heartbeat.run.status',
        level: run.status === 'succeeded' || run.status === 'cancelled' ? 'info' : 'error',
        message: run.error ?? run.status,
        payload: { status: run.status, ...(run.errorCode ? { errorCode: run.errorCode } : {}) },
      });
    }
    await this.events.record(ended.map(endEvent));
  }
}

const FINISH_WAKEUPS = `woken as (
  update agent_wakeup_requests w
  set status = case e.status when 'succeeded' then 'completed' when 'cancelled' then 'cancelled' else 'failed' end,
    status_reason = e.error_code, finished_at = clock_timestamp(), updated_at = now()
  from ended e where w.id = e.wakeup_request_id and w.status in ('queued', 'claimed'))`;

function endEvent(run: EndedRun) {
  const facts = {
    leaseId: run.leaseId,
    issueId: run.issueId,
    ...(run.errorCode ? { errorCode: run.errorCode, error: run.error } : {}),
  };
  switch (run.status) {
    case 'succeeded':
      return new HeartbeatSucceeded(run, facts);
    case 'failed':
      return new HeartbeatFailed(run, facts);
    case 'timed_out':
      return new HeartbeatTimedOut(run, facts);
    case 'cancelled':
      return new HeartbeatCancelled(run, facts);
  }
}
