import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { answers } from '../../database/answers.js';
import { DomainEvents } from '../../events/domain-events.js';
import { EndLeases, type LeaseEnd } from '../../leases/end-leases.js';
import { packed } from '../logs/stored-rows.js';
import { ENDED_COLUMNS, endedRun, type EndedRow, type EndedRun } from '../runs/ended-run.js';
import { END, END_WITH_LOGS } from './end-statements.js';
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
    const facts = ends.map(({ outcome: { invoked, log, ...outcome }, ...end }) => {
      return { ...end, ...outcome, ...invoked, logBytes: log?.logBytes, lastOutputAt: log?.lastOutputAt };
    });
    const rests = ends.flatMap(({ runId, outcome: { log } }) => (log ? [{ runId, rows: log.rows }] : []));
    const { content, rows: logged } = packed(rests);
    const rows = await this.em.execute<EndedRow[]>(rests.length > 0 ? END_WITH_LOGS : END, [
      ...[ids, ids, JSON.stringify(facts), ids],
      // As a value: by itself it would have all running runs looked through, of which there seem to be few.
      'running',
      ...(rests.length > 0 ? [content, logged] : []),
    ]);
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
