import type { ContextSnapshot, InvocationSource, TerminalRunStatus, TriggerDetail } from './heartbeat-run.entity.js';

/** A run that this transaction has just ended. */
export interface EndedRun {
  readonly id: string;
  readonly companyId: string;
  readonly agentId: string;
  readonly issueId: string | null;
  readonly leaseId: string | null;
  readonly status: TerminalRunStatus;
  readonly error: string | null;
  readonly errorCode: string | null;
  /** Whether somebody wished that it ends, however it did: what it worked on is then not tried again. */
  readonly isUnwanted: boolean;
  readonly contextSnapshot: ContextSnapshot;
  readonly invocationSource: InvocationSource;
  readonly triggerDetail: TriggerDetail | null;
  readonly resultJson: Record<string, unknown> | null;
  /** What made it a retry, if it is one. */
  readonly scheduledRetryReason: string | null;
  /** What its chain of retries has used up so far. */
  readonly processLossRetryCount: number;
  readonly shutdownRetryCount: number;
  readonly scheduledRetryAttempt: number;
  /** A transient failure that named a time before which a retry is of no use. */
  readonly retryNotBefore: string | null;
}

/** What the ending statements return; `endedRun` reads it. */
export interface EndedRow {
  id: string;
  company_id: string;
  agent_id: string;
  issue_id: string | null;
  lease_id: string | null;
  status: TerminalRunStatus;
  error: string | null;
  error_code: string | null;
  cancel_requested_at: string | null;
  context_snapshot: ContextSnapshot;
  invocation_source: InvocationSource;
  trigger_detail: TriggerDetail | null;
  result_json: Record<string, unknown> | null;
  scheduled_retry_reason: string | null;
  process_loss_retry_count: number;
  shutdown_retry_count: number;
  scheduled_retry_attempt: number;
}

/** The columns of `EndedRow`, for a `returning` clause on `heartbeat_runs r`. */
export const ENDED_COLUMNS = `r.id, r.company_id, r.agent_id, r.issue_id, r.lease_id, r.status,
  r.error, r.error_code, r.cancel_requested_at, r.context_snapshot, r.invocation_source, r.trigger_detail, r.result_json,
  r.scheduled_retry_reason, r.process_loss_retry_count, r.shutdown_retry_count, r.scheduled_retry_attempt`;

export function endedRun(row: EndedRow, retryNotBefore: string | null = null): EndedRun {
  return {
    id: row.id,
    companyId: row.company_id,
    agentId: row.agent_id,
    issueId: row.issue_id,
    leaseId: row.lease_id,
    status: row.status,
    error: row.error,
    errorCode: row.error_code,
    isUnwanted: row.cancel_requested_at !== null,
    contextSnapshot: row.context_snapshot,
    invocationSource: row.invocation_source,
    triggerDetail: row.trigger_detail,
    resultJson: row.result_json,
    scheduledRetryReason: row.scheduled_retry_reason,
    processLossRetryCount: row.process_loss_retry_count,
    shutdownRetryCount: row.shutdown_retry_count,
    scheduledRetryAttempt: row.scheduled_retry_attempt,
    retryNotBefore,
  };
}
