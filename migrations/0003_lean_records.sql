-- Lean records: what a run writes is as little as its proof needs. What can be derived is not stored, an index that no
-- reader needs is not written, and a row that is changed stays on its page.

-- Runs. A row is written three times in its life, and what is logged of a change reaches from the first column that
-- differs to the last: so they stand in the order in which they are written, and pages have room for rows to grow. An id
-- names its company already, so an index by agent or issue needs no company before it.
create temporary table runs_before on commit drop as table heartbeat_runs;
create temporary table leases_before on commit drop as table environment_leases;
drop table heartbeat_runs, environment_leases cascade;
create table heartbeat_runs (
  id uuid primary key,
  company_id uuid not null,
  agent_id uuid not null,
  issue_id uuid,
  -- Under which id the wake that it came from was answered.
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
) with (fillfactor = 25);
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

-- Leases, in the order in which they are written, too: what a renewal writes, and then what an end does. A page has room
-- for a second version of each row, so that neither leaves it.
alter sequence fencing_token rename to fencing_token_before;
create table environment_leases (
  id uuid not null,
  company_id uuid not null,
  environment_id uuid not null,
  execution_workspace_id uuid,
  workspace_mode text,
  issue_id uuid,
  heartbeat_run_id uuid,
  -- Of a run's lease: the one by which the run is held. Its own id, or for a further lease of that run the id of the first.
  run_lease_id uuid,
  holder text not null,
  lease_policy text not null default 'ephemeral'
    check (lease_policy in ('ephemeral', 'reuse_by_environment', 'reuse_by_execution_workspace', 'retain_on_failure')),
  provider text not null,
  runner_id text,
  host text,
  -- Which of the places under the environment's capacity it has; null where the environment has no capacity.
  slot integer check (slot > 0),
  place_id uuid,
  ttl_sec integer not null default 60 check (ttl_sec > 0),
  -- No statement can say which: it is the sequence's next. So none is given out twice, without an index that knows all.
  fencing_token bigint not null generated always as identity (sequence name fencing_token),
  acquired_at timestamptz(3) not null,
  created_at timestamptz(3) not null default now(),
  -- No renewal goes past this.
  lifetime_ends_at timestamptz(3) not null,
  metadata jsonb not null default '{}',
  provider_lease_id text,
  -- A reservation that an operator wants ended: when, and why.
  revoke_at timestamptz(3),
  revoke_reason text,
  -- Written by renewals.
  last_used_at timestamptz(3) not null,
  expires_at timestamptz(3) not null,
  -- From here on written when it ends.
  failure_reason text,
  released_at timestamptz(3),
  held_until timestamptz(3),
  status text not null check (status in ('active', 'released', 'expired', 'failed')),
  updated_at timestamptz(3) not null default now(),
  active_run_id uuid generated always as (case when status = 'active' then heartbeat_run_id end) stored,
  holding_id uuid generated always as (case when held_until is null then id end) stored,
  lingering_id uuid generated always as (case when held_until is null and status <> 'active' then id end) stored,
  -- By its id alone a lease is found with the help of the next key but one.
  primary key (company_id, id),
  constraint environment_leases_holding_unique unique (active_run_id, id),
  constraint environment_leases_place_key unique (id, holding_id),
  constraint environment_leases_environment_fk
    foreign key (company_id, environment_id) references environments (company_id, id),
  constraint environment_leases_workspace_fk
    foreign key (company_id, environment_id, execution_workspace_id, workspace_mode)
    references execution_workspaces (company_id, environment_id, id, mode),
  constraint environment_leases_issue_fk foreign key (company_id, issue_id) references issues (company_id, id),
  constraint environment_leases_workspace_has_mode check ((execution_workspace_id is null) = (workspace_mode is null)),
  constraint environment_leases_ended_has_time check ((status = 'active') = (released_at is null)),
  constraint environment_leases_failure_explained check (status not in ('failed', 'expired') or failure_reason is not null),
  constraint environment_leases_interval check (released_at >= acquired_at and expires_at > acquired_at),
  constraint environment_leases_lifetime check (expires_at <= lifetime_ends_at),
  constraint environment_leases_of_run_has_run_lease check ((heartbeat_run_id is null) = (run_lease_id is null)),
  constraint environment_leases_held_while_active check (held_until is null or status <> 'active'),
  constraint environment_leases_held_by_something
    check (held_until is not null or status = 'active' or place_id is not null),
  constraint environment_leases_held_past_release check (held_until >= released_at),
  constraint environment_leases_revocation_explained check ((revoke_at is null) = (revoke_reason is null)),
  -- Not even in history: one slot, and one exclusive workspace, is held by one lease at a time.
  constraint environment_leases_slot_never_shared
    exclude using gist (environment_id with =, slot with =, tstzrange(acquired_at, held_until) with &&)
    where (slot is not null),
  constraint environment_leases_workspace_never_shared
    exclude using gist (execution_workspace_id with =, tstzrange(acquired_at, released_at) with &&)
    where (workspace_mode = 'exclusive')
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 10000);
insert into environment_leases (id, company_id, environment_id, execution_workspace_id, workspace_mode, issue_id,
  heartbeat_run_id, run_lease_id, holder, lease_policy, provider, runner_id, host, slot, place_id, ttl_sec, fencing_token,
  acquired_at, created_at, lifetime_ends_at, metadata, provider_lease_id, revoke_at, revoke_reason, last_used_at,
  expires_at, failure_reason, released_at, held_until, status, updated_at) overriding system value
select id, company_id, environment_id, execution_workspace_id, workspace_mode, issue_id,
  heartbeat_run_id, run_lease_id, holder, lease_policy, provider, runner_id, host, slot, place_id, ttl_sec, fencing_token,
  acquired_at, created_at, lifetime_ends_at, metadata, provider_lease_id, revoke_at, revoke_reason, last_used_at,
  expires_at, failure_reason, released_at, held_until, status, updated_at
from leases_before;
select setval('fencing_token', last_value, is_called) from fencing_token_before;
drop sequence fencing_token_before;

-- A run is running exactly while its lease is active, and every active lease of a run, not only its first, needs the run
-- running under that first one. Each side names the other through a column that is set only in that state; both keys are
-- checked at commit, so the two rows can only change together.
alter table heartbeat_runs add constraint heartbeat_runs_running_has_active_lease
  foreign key (id, held_lease_id) references environment_leases (active_run_id, id) deferrable initially deferred;
alter table environment_leases
  add constraint environment_leases_active_has_running_run
    foreign key (active_run_id, run_lease_id) references heartbeat_runs (id, held_lease_id) deferrable initially deferred,
  add constraint environment_leases_place_fk
    foreign key (company_id, place_id) references environment_places (company_id, id) deferrable initially deferred,
  add constraint environment_leases_lingering_has_place
    foreign key (place_id, lingering_id) references environment_places (id, holding_lease_id) deferrable initially deferred;
-- A lease's run is its company's. Said once, when the lease is made for a run that is held: a foreign key would ask for an
-- index of all leases by their run, of which a run names the first itself.
create function lease_of_own_run() returns trigger language plpgsql as $$
begin
  if not exists (select from heartbeat_runs where id = new.heartbeat_run_id and company_id = new.company_id) then
    raise foreign_key_violation using constraint = 'environment_leases_run_in_company',
      message = format('Run %s is not one of company %s', new.heartbeat_run_id, new.company_id);
  end if;
  return null;
end $$;
create trigger environment_leases_run_in_company after insert or update of company_id, heartbeat_run_id
  on environment_leases for each row when (new.heartbeat_run_id is not null) execute function lease_of_own_run();
alter table environment_places
  add constraint environment_places_lease_fk foreign key (company_id, lease_id)
    references environment_leases (company_id, id) deferrable initially deferred,
  add constraint environment_places_not_gone_is_held
    foreign key (lease_id, holding_lease_id) references environment_leases (id, holding_id) deferrable initially deferred;
alter table agent_wakeup_requests add constraint agent_wakeup_requests_run_fk
  foreign key (company_id, run_id) references heartbeat_runs (company_id, id) deferrable initially deferred;
alter table issue_comments add constraint issue_comments_run_fk
  foreign key (company_id, created_by_run_id) references heartbeat_runs (company_id, id);
alter table heartbeat_run_log_chunks add foreign key (run_id) references heartbeat_runs (id);

-- An issue is worked on by one run at a time.
create unique index heartbeat_runs_one_live_per_issue on heartbeat_runs (issue_id)
  where status in ('queued', 'running') and issue_id is not null;
-- A run has at most one successor: no retry storm.
create unique index heartbeat_runs_one_successor on heartbeat_runs (company_id, retry_of_run_id)
  where retry_of_run_id is not null;
-- Lists of an agent's runs: those that have ended. What waits and runs is found by the two indexes for that.
create index heartbeat_runs_agent on heartbeat_runs (agent_id, id) where status not in ('queued', 'scheduled_retry', 'running');
create index heartbeat_runs_issue on heartbeat_runs (issue_id, id) where issue_id is not null;
-- One for all that asks for what waits: of two that could serve, a plan that was made when nothing did takes either.
create index heartbeat_runs_waiting on heartbeat_runs (company_id, agent_id, due_at)
  where status in ('queued', 'scheduled_retry');
create index heartbeat_runs_running on heartbeat_runs (company_id, agent_id) where status = 'running';

create or replace function agent_is_running(agent uuid) returns boolean language sql stable as
  $$ select exists (select 1 from agents a join heartbeat_runs r on r.company_id = a.company_id and r.agent_id = a.id
     where a.id = agent and r.status = 'running') $$;

-- Wakeups. One that became a run is told of by its run, which has its source and what it says and tells by its own state
-- how it goes on: what is kept here waits, has joined a run, or came to nothing.
delete from agent_wakeup_requests where status in ('queued', 'claimed', 'completed', 'failed')
  or status = 'cancelled' and run_id is not null;
alter table agent_wakeup_requests
  drop constraint agent_wakeup_requests_company_unique,
  drop constraint agent_wakeup_requests_status_check,
  add constraint agent_wakeup_requests_status_check
    check (status in ('deferred_issue_execution', 'coalesced', 'skipped', 'cancelled')),
  drop constraint agent_wakeup_requests_ended_has_time,
  add constraint agent_wakeup_requests_ended_has_time
    check ((status <> 'deferred_issue_execution') = (finished_at is not null)),
  add constraint agent_wakeup_requests_joined_has_run check ((status = 'coalesced') = (run_id is not null)),
  drop column claimed_at,
  add column deferred_issue_id uuid generated always as
    (case when status = 'deferred_issue_execution' then issue_id end) stored,
  add column skipped_reason text generated always as (case when status = 'skipped' then status_reason end) stored;
drop index agent_wakeup_requests_agent, agent_wakeup_requests_run, agent_wakeup_requests_one_skipped,
  agent_wakeup_requests_one_deferred;
create index agent_wakeup_requests_run on agent_wakeup_requests (run_id) where run_id is not null;
create unique index agent_wakeup_requests_one_skipped on agent_wakeup_requests (agent_id, skipped_reason)
  where skipped_reason is not null;
create unique index agent_wakeup_requests_one_deferred on agent_wakeup_requests (deferred_issue_id, agent_id)
  where deferred_issue_id is not null;

-- Leases. An index that a reader needs for what has ended only is not written before the end: what an environment holds is
-- found by what it holds. A run names its first lease, so that only further ones are looked for by their run.
create index environment_leases_environment on environment_leases (environment_id, id) where status <> 'active';
create index environment_leases_further on environment_leases (run_lease_id) where run_lease_id <> id;
create index environment_leases_holding on environment_leases (environment_id) where held_until is null;
create index environment_leases_workspace on environment_leases (company_id, execution_workspace_id)
  where execution_workspace_id is not null;
create index environment_leases_issue on environment_leases (company_id, issue_id) where issue_id is not null;
-- How the gate finds who is in a workspace.
create unique index environment_leases_one_per_exclusive_workspace on environment_leases (execution_workspace_id)
  where status = 'active' and workspace_mode = 'exclusive';
create index environment_leases_slot_history on environment_leases (environment_id, slot, acquired_at)
  where slot is not null;
create index environment_leases_workspace_history on environment_leases (execution_workspace_id, acquired_at)
  where workspace_mode = 'exclusive';
create index environment_leases_lingering on environment_leases (place_id, lingering_id) where place_id is not null;

-- The record. A row tells of one change, or of the two that an actor makes at once when a run starts (its lease is acquired)
-- or succeeds (its lease is released): what it says of the lease stands in columns then. Whatever can be told from the rest
-- of a row is not written: that it is about its run, an entry's id, that nothing is known. `activity_log` has every change
-- by itself and in full, numbered one after the other: a row that tells of two has two numbers.
alter table activity_log rename to activity_rows;
alter table activity_rows rename constraint activity_log_actor_type_check to activity_rows_actor_type_check;
drop index activity_log_company, activity_log_entity, activity_log_agent, activity_log_run;
alter index activity_log_stream rename to activity_rows_stream;
alter table activity_rows drop constraint activity_log_pkey, drop constraint activity_log_company_id_fkey;
alter table activity_rows
  alter column id drop not null,
  alter column seq set increment by 2,
  alter column entity_type drop not null,
  alter column entity_id drop not null,
  alter column details drop not null,
  alter column details drop default,
  alter column created_at set default clock_timestamp(),
  add column lease_id uuid,
  add column environment_id uuid,
  add column execution_workspace_id uuid,
  add column issue_id uuid,
  add column driver text,
  add column lease_policy text,
  add column host text,
  -- Listed in the order of time: from a time on, or up to one, is a part of the index. One clock gives the times.
  add primary key (company_id, created_at, seq),
  add constraint activity_rows_about_something check ((entity_type is null) = (entity_id is null)
    and (entity_id is not null or run_id is not null)),
  add constraint activity_rows_of_two_complete check (lease_id is null or run_id is not null and entity_id is null
    and action in ('heartbeat.started', 'heartbeat.succeeded') and environment_id is not null and driver is not null
    and lease_policy is not null and details is null and (host is null) = (action = 'heartbeat.succeeded'));

-- That there is its company, which is never removed: a foreign key would lock the company's row in each transaction of
-- everybody, and log that. Where no run is concerned it is seen at the commit, because the company's own row may be written
-- after its entry.
create function activity_of_a_company() returns trigger language plpgsql as $$
begin
  if not exists (select from companies where id = new.company_id) then
    raise foreign_key_violation using constraint = tg_name,
      message = format('An entry violates foreign key "%s": there is no company %s', tg_name, new.company_id);
  end if;
  return null;
end $$;
create constraint trigger activity_rows_in_company after insert or update of company_id on activity_rows
  deferrable initially deferred for each row when (new.run_id is null) execute function activity_of_a_company();
create trigger activity_rows_of_run_in_company after insert or update of company_id on activity_rows
  for each row when (new.run_id is not null) execute function activity_of_a_company();

-- What a run and its lease do is found by the run that the entry concerns; anything else by what it is about.
create function activity_entity_key(action text, entity_type text, entity_id text, run_id uuid) returns text
  language sql immutable return case
    when run_id is null then entity_id
    when entity_type = 'heartbeat_run' and entity_id = run_id::text then null
    when action in ('environment.lease_acquired', 'environment.lease_released', 'environment.lease_expired',
      'environment.lease_failed') then null
    else entity_id end;
create index activity_rows_agent on activity_rows (agent_id, created_at, seq) where agent_id is not null;
create index activity_rows_run on activity_rows (run_id, seq) where run_id is not null;
create index activity_rows_entity on activity_rows (activity_entity_key(action, entity_type, entity_id, run_id), seq)
  where activity_entity_key(action, entity_type, entity_id, run_id) is not null;

-- Of an entry that has none: the same whenever it is read, and another one if a restored database gives its number again.
create function activity_id(company uuid, seq bigint, created_at timestamptz) returns uuid language sql stable
  return overlay(overlay(md5(company::text || ' ' || seq || ' ' || extract(epoch from created_at))
    placing '8' from 13) placing 'a' from 17)::uuid;

-- The columns whose names begin with row_, and entity_key, are for looking entries up by the indexes of the rows.
create view activity_log as
  select coalesce(r.id, activity_id(r.company_id, r.seq + half.n, r.created_at)) as id, r.seq + half.n as seq, r.tx,
    r.company_id, r.actor_type, r.actor_id,
    case when not half.of_lease then r.action
      when r.action = 'heartbeat.started' then 'environment.lease_acquired'
      else 'environment.lease_released' end as action,
    case when half.of_lease then 'environment_lease' else coalesce(r.entity_type, 'heartbeat_run') end as entity_type,
    case when half.of_lease then r.lease_id::text else coalesce(r.entity_id, r.run_id::text) end as entity_id,
    r.agent_id, r.run_id,
    case when half.of_lease then jsonb_build_object('environmentId', r.environment_id, 'driver', r.driver,
        'leasePolicy', r.lease_policy, 'provider', r.driver, 'executionWorkspaceId', r.execution_workspace_id,
        'issueId', r.issue_id, 'status', case r.action when 'heartbeat.started' then 'active' else 'released' end)
      when r.lease_id is null then case
        when r.action in ('heartbeat.invoked', 'heartbeat.queued') then '{"reason": null, "issueId": null}'::jsonb || r.details
        else r.details end
      when r.action = 'heartbeat.started' then jsonb_build_object('leaseId', r.lease_id, 'issueId', r.issue_id, 'host', r.host)
      else jsonb_build_object('leaseId', r.lease_id, 'issueId', r.issue_id) end as details,
    r.created_at, r.seq as row_seq, r.action as row_action, r.entity_type as row_entity_type,
    activity_entity_key(r.action, r.entity_type, r.entity_id, r.run_id) as entity_key
  from activity_rows r
  cross join lateral (
    -- A lease is acquired before its run starts, and released after its run has succeeded.
    select 0 as n, r.lease_id is not null and r.action = 'heartbeat.started' as of_lease
    union all
    select 1, r.action = 'heartbeat.succeeded' where r.lease_id is not null) half;

-- Renewals. No index knows what a renewal changes, and a page has room for it: so it changes a row on its page and nothing
-- else. The reaper looks at the active leases themselves, in the order of an index that forgets what has ended as it is
-- read; vacuum comes before what has ended since fills the other indexes of active leases. Companies first, so that their
-- lists of active leases come from it, too, however many of these statistics know of.
create index environment_leases_live on environment_leases (company_id, id) where status = 'active';
-- What a runner looks for each second among the runs that it executes.
create index heartbeat_runs_wishes on heartbeat_runs (runner_id) where status = 'running' and cancel_at is not null;

-- Lists. What every run does is most of the record, and how most runs end is most of the runs: a list of these finds them
-- by looking at what is newest. What is rare has an index that nothing else pays for.
create index activity_rows_action on activity_rows (company_id, action, created_at, seq)
  where action not in ('heartbeat.invoked', 'heartbeat.queued', 'heartbeat.started', 'heartbeat.succeeded',
    'environment.lease_acquired', 'environment.lease_released');
create index activity_rows_kind on activity_rows (company_id, entity_type, created_at, seq)
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
create function time_of_id(id uuid) returns timestamptz language sql immutable
  return to_timestamp(('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 1000.0);
create function lease_outlasts_id(id uuid, acquired_at timestamptz, released_at timestamptz) returns boolean
  language sql immutable return
    released_at - time_of_id(id) > interval '60 seconds' or time_of_id(id) - acquired_at > interval '10 seconds';
create index environment_leases_as_of on environment_leases using gist (company_id, tstzrange(acquired_at, released_at))
  where status <> 'active' and lease_outlasts_id(id, acquired_at, released_at);
