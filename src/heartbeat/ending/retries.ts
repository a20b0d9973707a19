import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { newId } from '../../database/id.js';
import { DomainEvents } from '../../events/domain-events.js';
import type { EndedRun } from '../runs/ended-run.js';
import { HeartbeatRun } from '../runs/heartbeat-run.entity.js';
import { HeartbeatRetryScheduled } from '../runs/heartbeat.events.js';

/** A run that is tried again: why, and from when (seconds from now, or a time that the other side named). */
export interface Retry {
  readonly reason: string;
  readonly afterSec?: number;
  readonly notBefore: string | null;
}

/** How often a chain of runs is started again after its runner was lost, and after it was shut down. */
const MAX_LOSS_RETRIES = 1;
const MAX_SHUTDOWN_RETRIES = 1;
/** How long a chain waits after each transient failure, in seconds; then it gives up. */
const TRANSIENT_DELAYS_SEC = [120, 600, 1800, 7200];
/** Delays vary by a quarter both ways, so that what failed together does not come back together. */
const JITTER = 0.25;

/** Failures that are nobody's fault, with what they count against. */
const EXCUSED = new Set(['process_lost', 'runner_shutdown', 'transient_upstream']);

/** Retries of runs, within one budget per chain: each run carries what its chain has used up. */
@Injectable()
export class Retries {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
  ) {}

  /** Whether the run failed in a way that says nothing about the agent's work. */
  isExcused(run: EndedRun): boolean {
    return run.status === 'failed' && EXCUSED.has(run.errorCode ?? '');
  }

  /** @returns the retry that the chain has left for this kind of end, or null. */
  after(run: EndedRun): Retry | null {
    if (!this.isExcused(run)) return null;
    const reason = run.errorCode!;
    if (reason === 'process_lost')
      return run.processLossRetryCount < MAX_LOSS_RETRIES ? { reason, notBefore: null } : null;
    if (reason === 'runner_shutdown') {
      return run.shutdownRetryCount < MAX_SHUTDOWN_RETRIES ? { reason, notBefore: null } : null;
    }
    const delay = TRANSIENT_DELAYS_SEC[run.scheduledRetryAttempt];
    if (delay === undefined) return null;
    return { reason, afterSec: delay * (1 + JITTER * (2 * Math.random() - 1)), notBefore: run.retryNotBefore };
  }

  /** Makes the retries, in the transaction that ended the runs: each at once `queued`, or `scheduled_retry` until it is due. */
  async make(retried: readonly (readonly [EndedRun, Retry])[]): Promise<void> {
    const dueAt = await this.dueTimes(retried);
    await this.events.record(retried.map(([run, retry]) => this.makeOne(run, retry.reason, dueAt.get(run.id) ?? null)));
  }

  private makeOne(run: EndedRun, reason: string, dueAt: Date | null): HeartbeatRetryScheduled {
    const wakeupRequestId = newId();
    const { paperclipEnvironment: _, ...context } = run.contextSnapshot;
    const retry = this.em.create(HeartbeatRun, {
      id: newId(),
      companyId: run.companyId,
      agentId: run.agentId,
      issueId: run.issueId,
      wakeupRequestId,
      invocationSource: run.invocationSource,
      triggerDetail: run.triggerDetail,
      status: dueAt ? 'scheduled_retry' : 'queued',
      ...(dueAt ? { dueAt, scheduledRetryAt: dueAt } : {}),
      contextSnapshot: { ...context, retryOfRunId: run.id, retryReason: reason },
      retryOfRunId: run.id,
      scheduledRetryReason: reason,
      scheduledRetryAttempt: run.scheduledRetryAttempt + (reason === 'transient_upstream' ? 1 : 0),
      processLossRetryCount: run.processLossRetryCount + (reason === 'process_lost' ? 1 : 0),
      shutdownRetryCount: run.shutdownRetryCount + (reason === 'runner_shutdown' ? 1 : 0),
    });
    return new HeartbeatRetryScheduled(retry, {
      retryOfRunId: run.id,
      reason,
      wakeupRequestId,
      ...(dueAt ? { scheduledRetryAt: dueAt.toISOString() } : {}),
    });
  }

  /** By run, for retries that have to wait. */
  private async dueTimes(retried: readonly (readonly [EndedRun, Retry])[]): Promise<Map<string, Date>> {
    const waiting = retried.flatMap(([{ id }, { afterSec, notBefore }]) =>
      afterSec === undefined ? [] : [{ id, afterSec, notBefore }],
    );
    if (waiting.length === 0) return new Map();
    const rows = await this.em.execute<{ id: string; at: string }[]>(
      `select id, greatest(clock_timestamp() + make_interval(secs => "afterSec"), "notBefore") as at
       from jsonb_to_recordset(?::jsonb) as x(id uuid, "afterSec" double precision, "notBefore" timestamptz)`,
      [JSON.stringify(waiting)],
    );
    return new Map(rows.map(({ id, at }) => [id, new Date(at)]));
  }
}
