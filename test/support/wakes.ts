/** Every wake and what became of it: those that became no run have a row, the others are told of by their runs. */
export const WAKES = `(
  select id, company_id, agent_id, issue_id, run_id, source, reason, payload, status, status_reason, coalesced_count
  from agent_wakeup_requests
  union all
  select wakeup_request_id, company_id, agent_id, issue_id, id, invocation_source,
    coalesce(scheduled_retry_reason, context_snapshot ->> 'wakeReason'), context_snapshot,
    case when status in ('queued', 'scheduled_retry') then 'queued' when status = 'running' then 'claimed'
      when status = 'succeeded' then 'completed' when status = 'cancelled' then 'cancelled' else 'failed' end,
    error_code, 0
  from heartbeat_runs) as wakes`;
