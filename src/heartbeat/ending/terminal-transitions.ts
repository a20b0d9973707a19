import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { answers } from '../../database/answers.js';
import { DomainEvents } from '../../events/domain-events.js';
import { EndLeases, type LeaseEnd } from '../../leases/end-leases.js';
import { ENDED_COLUMNS, endedRun, type EndedRow, type EndedRun } from '../runs/ended-run.js';
import type { TerminalRunStatus } from '../runs/heartbeat-run.entity.js';
import {
  HeartbeatCancelled,
  HeartbeatFailed,
  HeartbeatSucceeded,
  HeartbeatTimedOut,
} from '../runs/heartbeat.events.js';
import { leaseStatusFor, type RunOutcome } from '../runs/run-outcome.js';

/** How one running run ends. */
export interface RunEnd {
  readonly runId: string;
  readonly leaseId: string;
  readonly outcome: RunOutcome;
  /** What the holder shows; null where the caller has checked otherwise that it may end the run. */
  readonly fencingToken: number | null;
}

/** Of a run's end what decides how its lease ends. */
type LeasedEnd = Pick<EndedRun, 'id' | 'leaseId' | 'status' | 'error' | 'errorCode'>;

/** How a run ends that was never started. */
export interface WaitingEnd {
  readonly runId: string;
  readonly status: Extract<TerminalRunStatus, 'failed' | 'cancelled'>;
  readonly code: string;
  readonly message: string;
}

/**
 * The only writer of runs' terminal states; terminal is final. Run and lease end in the caller's transaction.
 * What follows from an end is decided by `EndRuns`, which callers use.
 */
@Injectable()
export class TerminalTransitions {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly leases: EndLeases,
  ) {}

  /**
   * Ends running runs that hold the given leases; a cancel wish that has taken effect makes any end a cancellation. With
   * a fencing token, only while that lease is held: active, unexpired, under that token. Several runs are locked by their
   * ids' order first, as whoever revokes them does.
   */
  async endRunning(ends: RunEnd[]): Promise<EndedRun[]> {
    const told = this.update(ends).then(async (ended) => {
      await this.events.record(ended.map(endEvent));
      return ended;
    });
    const [ended, over] = await answers([told, this.leases.end(expectedEnds(ends), told)]);
    await this.leases.end(ended.filter(({ leaseId }) => !over.has(leaseId!)).map(leaseEnd));
    return ended;
  }

  private async update(ends: RunEnd[]): Promise<EndedRun[]> {
    const ids = `{${ends.map(({ runId }) => runId).join(',')}}`;
    const rows = await this.em.execute<EndedRow[]>(
      `with held as materialized (
         select h.id from heartbeat_runs h where cardinality(?::uuid[]) > 1 and h.id = any(?::uuid[]) order by h.id
         for no key update)
       update heartbeat_runs r
         set (status, error, error_code) = (
             select case when wish.acts then 'cancelled' else x.status end,
               case when wish.acts then r.cancel_reason else x.error end,
               case when wish.acts then r.cancel_code else x."errorCode" end
             -- Read once for a run: the clock moves on between two looks.
             from (select r.cancel_at <= clock_timestamp() as acts) wish),
           exit_code = x."exitCode", signal = x.signal, result_json = x."resultJson", usage_json = x."usageJson",
           stdout_excerpt = coalesce(x."stdoutExcerpt", r.stdout_excerpt),
           stderr_excerpt = coalesce(x."stderrExcerpt", r.stderr_excerpt),
           process_pid = coalesce(x."processPid", r.process_pid),
           process_group_id = coalesce(x."processGroupId", r.process_group_id),
           process_started_at = coalesce(x."processStartedAt", r.process_started_at),
           invocation = coalesce(x.invocation, r.invocation), sealed_values = null,
           finished_at = clock_timestamp(), updated_at = now()
         from jsonb_to_recordset(?::jsonb) as x("runId" uuid, "leaseId" uuid, "fencingToken" bigint, status text,
           error text, "errorCode" text, "exitCode" integer, signal text, "resultJson" jsonb, "usageJson" jsonb,
           "stdoutExcerpt" text, "stderrExcerpt" text, "processPid" integer, "processGroupId" integer,
           "processStartedAt" timestamptz, invocation jsonb)
         where (select count(*) from held) is not null
           and r.id = any(?::uuid[]) and r.id = x."runId" and r.lease_id = x."leaseId" and r.status = ?
           and (x."fencingToken" is null or exists (select 1 from environment_leases l where l.id = r.lease_id
             and l.fencing_token = x."fencingToken" and l.status = 'active' and l.expires_at > clock_timestamp()))
         returning ${ENDED_COLUMNS}`,
      [
        ids,
        ids,
        JSON.stringify(
          ends.map(({ outcome: { invoked, ...outcome }, ...end }) => ({ ...end, ...outcome, ...invoked })),
        ),
        ids,
        // As a value: by itself it would have all running runs looked through, of which there seem to be few.
        'running',
      ],
    );
    const notBefore = new Map(ends.map(({ runId, outcome }) => [runId, outcome.retryNotBefore]));
    return rows.map((row) => endedRun(row, notBefore.get(row.id)));
  }

  /** Ends runs that were never started: they never had a lease. */
  async endWaiting(ends: WaitingEnd[]): Promise<EndedRun[]> {
    if (ends.length === 0) return [];
    const rows = await this.em.execute<EndedRow[]>(
      `update heartbeat_runs r
         set status = x.status, error = x.message, error_code = x.code,
           finished_at = clock_timestamp(), updated_at = now()
         from jsonb_to_recordset(?::jsonb) as x("runId" uuid, status text, code text, message text)
         where r.id = x."runId" and r.status in ('queued', 'scheduled_retry')
         returning ${ENDED_COLUMNS}`,
      [JSON.stringify(ends)],
    );
    const ended = rows.map((row) => endedRun(row));
    await this.events.record(ended.map(endEvent));
    return ended;
  }
}

/**
 * How leases end if their runs end as they have: asked for before that is known. A wish to cancel may change it, except for
 * what comes of it anyway.
 */
const expectedEnds = (ends: RunEnd[]) =>
  ends
    .filter(({ outcome }) => outcome.status !== 'cancelled')
    .map(({ runId: id, leaseId, outcome }) => leaseEnd({ ...outcome, id, leaseId }));

function leaseEnd({ id, leaseId, status, error, errorCode }: LeasedEnd): LeaseEnd {
  const succeeded = status === 'succeeded';
  return {
    id: leaseId!,
    status: leaseStatusFor(status, errorCode),
    reason: succeeded ? null : (error ?? errorCode),
    run: { id, status },
    succeeded,
  };
}

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
