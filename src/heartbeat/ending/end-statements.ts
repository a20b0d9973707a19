import { storeRows } from '../logs/stored-rows.js';
import { ENDED_COLUMNS } from '../runs/ended-run.js';

const HELD = `with held as materialized (
    select h.id from heartbeat_runs h where cardinality(?::uuid[]) > 1 and h.id = any(?::uuid[]) order by h.id
    for no key update)`;

const ENDED = `update heartbeat_runs r
  set (status, error, error_code) = (
      select case when wish.acts then 'cancelled' else x.status end,
        case when wish.acts then r.cancel_reason else x.error end,
        case when wish.acts then r.cancel_code else x."errorCode" end
      -- Read once for a run: the clock moves on between two looks.
      from (select r.cancel_at <= clock_timestamp() as acts) wish),
    exit_code = x."exitCode", signal = x.signal, result_json = x."resultJson", usage_json = x."usageJson",
    stdout_excerpt = coalesce(x."stdoutExcerpt", r.stdout_excerpt),
    stderr_excerpt = coalesce(x."stderrExcerpt", r.stderr_excerpt),
    log_bytes = greatest(r.log_bytes, x."logBytes"), last_output_at = greatest(r.last_output_at, x."lastOutputAt"),
    process_pid = coalesce(x."processPid", r.process_pid),
    process_group_id = coalesce(x."processGroupId", r.process_group_id),
    process_started_at = coalesce(x."processStartedAt", r.process_started_at),
    invocation = coalesce(x.invocation, r.invocation), sealed_values = null,
    finished_at = clock_timestamp(), updated_at = now()
  from jsonb_to_recordset(?::jsonb) as x("runId" uuid, "leaseId" uuid, "fencingToken" bigint, status text,
    error text, "errorCode" text, "exitCode" integer, signal text, "resultJson" jsonb, "usageJson" jsonb,
    "stdoutExcerpt" text, "stderrExcerpt" text, "logBytes" bigint, "lastOutputAt" timestamptz, "processPid" integer,
    "processGroupId" integer, "processStartedAt" timestamptz, invocation jsonb)
  where (select count(*) from held) is not null
    and r.id = any(?::uuid[]) and r.id = x."runId" and r.lease_id = x."leaseId" and r.status = ?
    and (x."fencingToken" is null or exists (select 1 from environment_leases l where l.id = r.lease_id
      and l.fencing_token = x."fencingToken" and l.status = 'active' and l.expires_at > clock_timestamp()))
  returning ${ENDED_COLUMNS}`;

/** Ends running runs: (their ids, twice, how each ends, their ids, `running`). Answers with those that it has ended. */
export const END = `${HELD} ${ENDED}`;

/** The same, and stores the rests of their logs, of those that it has ended: (…, content, rows), as they are packed. */
export const END_WITH_LOGS = `${HELD}, ended as (${ENDED}), stored as (${storeRows('select id from ended', '?', '?')})
  select * from ended`;
