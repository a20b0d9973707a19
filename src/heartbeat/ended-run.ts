import type { ContextSnapshot, InvocationSource, TerminalRunStatus, TriggerDetail } from './heartbeat-run.entity.js';

/** A run that this transaction has just ended. */
export interface EndedRun {
  readonly id: string;
  readonly companyId: string;
  readonly agentId: string;
  readonly issueId: string | null;
  readonly leaseId: string | null;
  readonly wakeupRequestId: string | null;
  readonly status: TerminalRunStatus;
  readonly error: string | null;
  readonly errorCode: string | null;
  readonly contextSnapshot: ContextSnapshot;
  readonly invocationSource: InvocationSource;
  readonly triggerDetail: TriggerDetail | null;
  readonly processLossRetryCount: number;
}

/** What the ending statements return; `endedRun` reads it. */
export interface EndedRow {
  id: string;
  company_id: string;
  agent_id: string;
  issue_id: string | null;
  lease_id: string | null;
  wakeup_request_id: string | null;
  status: TerminalRunStatus;
  error: string | null;
  error_code: string | null;
  context_snapshot: ContextSnapshot;
  invocation_source: InvocationSource;
  trigger_detail: TriggerDetail | null;
  process_loss_retry_count: number;
}

/** The columns of `EndedRow`, for a `returning` clause on `heartbeat_runs r`. */
export const ENDED_COLUMNS = `r.id, r.company_id, r.agent_id, r.issue_id, r.lease_id, r.wakeup_request_id, r.status,
  r.error, r.error_code, r.context_snapshot, r.invocation_source, r.trigger_detail, r.process_loss_retry_count`;

export function endedRun(row: EndedRow): EndedRun {
  return {
    id: row.id,
    companyId: row.company_id,
    agentId: row.agent_id,
    issueId: row.issue_id,
    leaseId: row.lease_id,
    wakeupRequestId: row.wakeup_request_id,
    status: row.status,
    error: row.error,
    errorCode: row.error_code,
    contextSnapshot: row.context_snapshot,
    invocationSource: row.invocation_source,
    triggerDetail: row.trigger_detail,
    processLossRetryCount: row.process_loss_retry_count,
  };
}
