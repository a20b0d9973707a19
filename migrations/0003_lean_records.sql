-- Lean records: what a run writes is as little as its proof needs. What can be derived is not stored, an index that no
-- reader needs is not written, and a row that is changed stays on its page.

-- A run's own story is read off its row. What it called is written once, with which process that became.
drop table heartbeat_run_events;
alter table heartbeat_runs add column invocation jsonb;

-- Runs. An id names its company, agent or issue already, so an index by agent or issue needs no company before it; what
-- has no issue is in no index of issues.
drop index heartbeat_runs_agent, heartbeat_runs_issue, heartbeat_runs_wakeup, heartbeat_runs_one_live_per_issue;
create index heartbeat_runs_agent on heartbeat_runs (agent_id, id);
create index heartbeat_runs_issue on heartbeat_runs (issue_id, id) where issue_id is not null;
create unique index heartbeat_runs_one_live_per_issue on heartbeat_runs (issue_id)
  where status in ('queued', 'running') and issue_id is not null;
-- A run's row is written three times in its life: room for that on its page saves writing it whole each time.
alter table heartbeat_runs set (fillfactor = 50);

-- Wakeups. The wakeup names its run, which is enough. That it is claimed and finished touches no index: what the two
-- partial ones need is taken out into columns that stay as they are then.
alter table heartbeat_runs drop constraint heartbeat_runs_wakeup_fk;
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
drop index environment_leases_environment, environment_leases_run;
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
alter table activity_log add primary key (company_id, seq);
create index activity_log_agent on activity_log (agent_id, seq) where agent_id is not null;
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
