-- Lean records: what a run writes is as little as its proof needs. What can be derived is not stored, an index that no
-- reader needs is not written, and a row that is changed stays on its page.

-- Runs. A row is written three times in its life, and what is logged of a change reaches from the first column that
-- differs to the last: so they stand in the order in which they are written, and pages have room for rows to grow. An id
-- names its company already, so an index by agent or issue needs no company before it.
create temporary table runs_before on commit drop as table heartbeat_runs;
drop table heartbeat_runs cascade;
create table heartbeat_runs (
  id uuid primary key,
  company_id uuid not null,
  agent_id uuid not null,
  issue_id uuid,
  -- The wakeup names its run, which is enough.
  wakeup_request_id uuid,
  retry_of_run_id uuid,
  invocation_source text not null check (invocation_source in ('timer', 'assignment', 'on_demand', 'automation')),
  trigger_detail text check (trigger_detail in ('manual', 'ping', 'callback', 'system')),
  created_at timestamptz(3) not null default now(),
  -- From when the run may start; moved on by retries and by the back-off after an unexpected error while claiming.
  due_at timestamptz(3) not null default now(),
  claim_errors integer not null default 0,
  scheduled_retry_at timestamptz(3),
  scheduled_retry_reason text,
  -- What its chain of retries has used up, carried from run to run.
  scheduled_retry_attempt integer not null default 0,
  process_loss_retry_count integer not null default 0,
  shutdown_retry_count integer not null default 0,
  context_snapshot jsonb not null default '{}',
  waiting_reason jsonb,
  -- From here on written when it starts.
  token_hash bytea,
  lease_id uuid,
  runner_id text,
  started_at timestamptz(3),
  -- When it is stopped, and after how long without output; null for never.
  deadline_at timestamptz(3),
  idle_timeout_sec integer check (idle_timeout_sec > 0),
  -- Where it went and why: which reference decided, and what the gate found.
  placement jsonb,
  -- From here on written while it runs. A wish to end it takes effect at cancel_at; one with a grace lies in the future.
  cancel_requested_at timestamptz(3),
  cancel_at timestamptz(3),
  cancel_code text,
  cancel_reason text,
  -- What was called; which process that became stands below.
  invocation jsonb,
  process_pid integer,
  process_group_id integer,
  process_started_at timestamptz(3),
  last_output_at timestamptz(3),
  log_bytes bigint not null default 0,
  -- From here on written when it ends.
  exit_code integer,
  signal text,
  error text,
  error_code text,
  usage_json jsonb,
  result_json jsonb,
  stdout_excerpt text,
  stderr_excerpt text,
  issue_comment_status text check (issue_comment_status in ('not_applicable', 'satisfied', 'retry_queued',
    'retry_exhausted')),
  finished_at timestamptz(3),
  -- Written each time.
  status text not null check (status in ('queued', 'scheduled_retry', 'running', 'succeeded', 'failed', 'cancelled',
    'timed_out')),
  updated_at timestamptz(3) not null default now(),
  -- Set exactly while the run is running; see the two deferred foreign keys between runs and leases.
  held_lease_id uuid generated always as (case when status = 'running' then lease_id end) stored,
  constraint heartbeat_runs_company_unique unique (company_id, id),
  constraint heartbeat_runs_holding_unique unique (id, held_lease_id),
  constraint heartbeat_runs_agent_fk foreign key (company_id, agent_id) references agents (company_id, id),
  constraint heartbeat_runs_issue_fk foreign key (company_id, issue_id) references issues (company_id, id),
  constraint heartbeat_runs_retry_of_fk foreign key (company_id, retry_of_run_id) references heartbeat_runs (company_id, id),
  constraint heartbeat_runs_running_holds check (status <> 'running'
    or (lease_id is not null and started_at is not null and runner_id is not null)),
  constraint heartbeat_runs_ended_has_time
    check ((status in ('succeeded', 'failed', 'cancelled', 'timed_out')) = (finished_at is not null)),
  constraint heartbeat_runs_failed_has_reason
    check (status not in ('failed', 'timed_out') or (error is not null and error_code is not null)),
  constraint heartbeat_runs_retry_has_time check (status <> 'scheduled_retry' or scheduled_retry_at is not null),
  constraint heartbeat_runs_cancel_complete
    check ((cancel_requested_at is null) = (cancel_at is null) and (cancel_at is null) = (cancel_code is null))
) with (fillfactor = 15);
insert into heartbeat_runs (id, company_id, agent_id, issue_id, wakeup_request_id, retry_of_run_id, invocation_source,
  trigger_detail, created_at, due_at, claim_errors, scheduled_retry_at, scheduled_retry_reason, scheduled_retry_attempt,
  process_loss_retry_count, shutdown_retry_count, context_snapshot, waiting_reason, token_hash, lease_id, runner_id,
  started_at, deadline_at, idle_timeout_sec, placement, cancel_requested_at, cancel_at, cancel_code, cancel_reason,
  invocation, process_pid, process_group_id, process_started_at, last_output_at, log_bytes, exit_code, signal, error,
  error_code, usage_json, result_json, stdout_excerpt, stderr_excerpt, issue_comment_status, finished_at, status,
  updated_at)
select id, company_id, agent_id, issue_id, wakeup_request_id, retry_of_run_id, invocation_source,
  trigger_detail, created_at, due_at, claim_errors, scheduled_retry_at, scheduled_retry_reason, scheduled_retry_attempt,
  process_loss_retry_count, shutdown_retry_count, context_snapshot, waiting_reason, token_hash, lease_id, runner_id,
  started_at, deadline_at, idle_timeout_sec, placement, cancel_requested_at, cancel_at, cancel_code, cancel_reason,
  (select e.payload || jsonb_build_object('at', to_char(e.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
    from heartbeat_run_events e where e.run_id = b.id and e.event_type = 'adapter.invoke' order by e.seq desc limit 1),
  process_pid, process_group_id, process_started_at, last_output_at, log_bytes, exit_code, signal, error, error_code,
  usage_json, result_json, stdout_excerpt, stderr_excerpt, issue_comment_status, finished_at, status, updated_at
from runs_before b;
-- A run's own story is read off its row: nothing else is left to keep of it.
drop table heartbeat_run_events;
-- Checked at once here: a check that waits for the commit would keep the table from being changed below.
alter table heartbeat_runs add constraint heartbeat_runs_running_has_active_lease
  foreign key (id, held_lease_id) references environment_leases (active_run_id, id) deferrable initially deferred;

-- An issue is worked on by one run at a time.
create unique index heartbeat_runs_one_live_per_issue on heartbeat_runs (issue_id)
  where status in ('queued', 'running') and issue_id is not null;
-- A run has at most one successor: no retry storm.
create unique index heartbeat_runs_one_successor on heartbeat_runs (company_id, retry_of_run_id)
  where retry_of_run_id is not null;
create index heartbeat_runs_agent on heartbeat_runs (agent_id, id);
create index heartbeat_runs_issue on heartbeat_runs (issue_id, id) where issue_id is not null;
-- One for all that asks for what waits: of two that could serve, a plan that was made when nothing did takes either.
create index heartbeat_runs_waiting on heartbeat_runs (company_id, agent_id, due_at)
  where status in ('queued', 'scheduled_retry');
create index heartbeat_runs_running on heartbeat_runs (company_id, agent_id) where status = 'running';

alter table agent_wakeup_requests add constraint agent_wakeup_requests_run_fk
  foreign key (company_id, run_id) references heartbeat_runs (company_id, id) deferrable initially deferred;
alter table environment_leases
  add constraint environment_leases_run_fk
    foreign key (company_id, heartbeat_run_id) references heartbeat_runs (company_id, id),
  add constraint environment_leases_active_has_running_run
    foreign key (active_run_id, run_lease_id) references heartbeat_runs (id, held_lease_id) deferrable initially deferred;
alter table issue_comments add constraint issue_comments_run_fk
  foreign key (company_id, created_by_run_id) references heartbeat_runs (company_id, id);
alter table heartbeat_run_log_chunks add foreign key (run_id) references heartbeat_runs (id);

create or replace function agent_is_running(agent uuid) returns boolean language sql stable as
  $$ select exists (select 1 from agents a join heartbeat_runs r on r.company_id = a.company_id and r.agent_id = a.id
     where a.id = agent and r.status = 'running') $$;

-- Wakeups. That one is claimed and finished touches no index: what the two partial ones need is taken out into columns
-- that stay as they are then.
alter table agent_wakeup_requests
  drop constraint agent_wakeup_requests_company_unique,
  add column deferred_issue_id uuid generated always as
    (case when status = 'deferred_issue_execution' then issue_id end) stored,
  add column skipped_reason text generated always as (case when status = 'skipped' then status_reason end) stored,
  set (fillfactor = 70);
drop index agent_wakeup_requests_agent, agent_wakeup_requests_run, agent_wakeup_requests_one_skipped,
  agent_wakeup_requests_one_deferred;
create index agent_wakeup_requests_run on agent_wakeup_requests (run_id) where run_id is not null;
create unique index agent_wakeup_requests_one_skipped on agent_wakeup_requests (agent_id, skipped_reason)
  where skipped_reason is not null;
create unique index agent_wakeup_requests_one_deferred on agent_wakeup_requests (deferred_issue_id, agent_id)
  where deferred_issue_id is not null;

-- Leases.
-- What each runner holds is counted among the active ones, for all runners at once.
drop index environment_leases_environment, environment_leases_run, environment_leases_of_runner;
create index environment_leases_environment on environment_leases (environment_id, id);
create index environment_leases_run on environment_leases (heartbeat_run_id) where heartbeat_run_id is not null;

-- The record. What a run and its lease do is found by the run that the entry concerns; anything else by what it is about.
create function activity_entity_key(action text, entity_type text, entity_id text, run_id uuid) returns text
  language sql immutable return case
    when run_id is null then entity_id
    when entity_type = 'heartbeat_run' and entity_id = run_id::text then null
    when action in ('environment.lease_acquired', 'environment.lease_released', 'environment.lease_expired',
      'environment.lease_failed') then null
    else entity_id end;
alter table activity_log drop constraint activity_log_pkey;
drop index activity_log_company, activity_log_entity, activity_log_agent, activity_log_run;
-- Listed in the order of time: from a time on, or up to one, is a part of the index. One clock gives the times.
alter table activity_log alter column created_at set default clock_timestamp(),
  add primary key (company_id, created_at, seq);
create index activity_log_agent on activity_log (agent_id, created_at, seq) where agent_id is not null;
create index activity_log_run on activity_log (run_id, seq) where run_id is not null;
create index activity_log_entity on activity_log (activity_entity_key(action, entity_type, entity_id, run_id), seq)
  where activity_entity_key(action, entity_type, entity_id, run_id) is not null;

-- Renewals. No index knows what a renewal changes, and a page has room for it: so it changes a row on its page and nothing
-- else. The reaper looks at the active leases themselves, in the order of an index that forgets what has ended as it is
-- read; vacuum comes before what has ended since fills the other indexes of active leases.
drop index environment_leases_expiry, environment_leases_revoked;
create index environment_leases_live on environment_leases (id) where status = 'active';
alter table environment_leases set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 10000);
-- What a runner looks for each second among the runs that it executes.
create index heartbeat_runs_wishes on heartbeat_runs (runner_id) where status = 'running' and cancel_at is not null;

-- Lists. What every run does is most of the record, and how most runs end is most of the runs: a list of these finds them
-- by looking at what is newest. What is rare has an index that nothing else pays for.
create index activity_log_action on activity_log (company_id, action, created_at, seq)
  where action not in ('heartbeat.invoked', 'heartbeat.queued', 'heartbeat.started', 'heartbeat.succeeded',
    'environment.lease_acquired', 'environment.lease_released');
create index activity_log_kind on activity_log (company_id, entity_type, created_at, seq)
  where entity_type not in ('heartbeat_run', 'environment_lease');
create index heartbeat_runs_unsuccessful on heartbeat_runs (company_id, status, id)
  where status in ('failed', 'cancelled', 'timed_out');
create index heartbeat_runs_unsuccessful_of_agent on heartbeat_runs (agent_id, status, id)
  where status in ('failed', 'cancelled', 'timed_out');
create index environment_leases_unsuccessful on environment_leases (company_id, status, id)
  where status in ('failed', 'expired');
create index environment_leases_unsuccessful_there on environment_leases (environment_id, status, id)
  where status in ('failed', 'expired');
create index environment_places_host on environment_places (company_id, host, id) where host is not null;

-- What was held at a time of the past: most leases by their ids, which say when they were made. This index has those that
-- lasted longer than a minute after that, or began more than some seconds before it, because of another clock.
drop index environment_leases_as_of;
create function time_of_id(id uuid) returns timestamptz language sql immutable
  return to_timestamp(('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 1000.0);
create function lease_outlasts_id(id uuid, acquired_at timestamptz, released_at timestamptz) returns boolean
  language sql immutable return
    released_at - time_of_id(id) > interval '60 seconds' or time_of_id(id) - acquired_at > interval '10 seconds';
create index environment_leases_as_of on environment_leases using gist (company_id, tstzrange(acquired_at, released_at))
  where status <> 'active' and lease_outlasts_id(id, acquired_at, released_at);
