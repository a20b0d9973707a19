-- The ground floor: every table of a heartbeat's first whole life.
--
-- Conventions. Ids are UUIDv7 made by the application. Every key between tenants' rows carries company_id, so a row
-- can never point into another company. Times have millisecond precision, because that is what a client can send back.
-- Enum-like columns are text with a CHECK: adding a value is then one cheap statement in a later migration.

create sequence fencing_token as bigint;

-- One row. The epoch names this history of the database: a restored copy gets a new one, which ends old stream cursors.
create table instance (
  id boolean primary key default true check (id),
  epoch uuid not null default gen_random_uuid(),
  created_at timestamptz(3) not null default now()
);
insert into instance default values;

create table companies (
  id uuid primary key,
  name text not null check (length(name) between 1 and 200),
  description text,
  status text not null default 'active' check (status in ('active', 'archived')),
  issue_prefix text not null check (issue_prefix ~ '^[A-Z][A-Z0-9]{0,9}$'),
  issue_counter integer not null default 0,
  default_environment_id uuid,
  max_concurrent_runs integer check (max_concurrent_runs > 0),
  max_wait_sec integer check (max_wait_sec > 0),
  retention jsonb not null default '{}',
  archived_at timestamptz(3),
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  constraint companies_issue_prefix_unique unique (issue_prefix),
  constraint companies_archived_has_time check ((status = 'archived') = (archived_at is not null))
);

create table environments (
  id uuid primary key,
  company_id uuid not null references companies (id),
  name text not null check (length(name) between 1 and 200),
  description text,
  driver text not null,
  status text not null default 'active' check (status in ('active', 'draining', 'archived')),
  config jsonb not null default '{}',
  env_vars jsonb not null default '{}',
  capacity integer check (capacity > 0),
  metadata jsonb not null default '{}',
  deleted_at timestamptz(3),
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  constraint environments_company_unique unique (company_id, id)
);
create unique index environments_name_unique on environments (company_id, name) where deleted_at is null;
-- Whatever its name or status: a company has one place on the server itself.
create unique index environments_one_local on environments (company_id) where driver = 'local' and deleted_at is null;

alter table companies add constraint companies_default_environment_fk
  foreign key (id, default_environment_id) references environments (company_id, id);
create index companies_default_environment on companies (default_environment_id) where default_environment_id is not null;

create table agents (
  id uuid primary key,
  company_id uuid not null references companies (id),
  name text not null check (length(name) between 1 and 200),
  role text not null default 'general',
  title text,
  status text not null default 'idle'
    check (status in ('active', 'idle', 'running', 'paused', 'error', 'terminated', 'pending_approval')),
  adapter_type text not null,
  adapter_config jsonb not null default '{}',
  runtime_config jsonb not null default '{}',
  default_environment_id uuid,
  -- The cap that the claim's gate enforces under this row's lock. A cap of 1 means 1.
  max_concurrent_runs integer not null generated always as
    (coalesce((runtime_config #>> '{heartbeat,maxConcurrentRuns}')::integer, 5)) stored check (max_concurrent_runs > 0),
  pause_reason text,
  paused_at timestamptz(3),
  last_heartbeat_at timestamptz(3),
  -- When its timer wakes it next; null while its timer is off.
  next_timer_at timestamptz(3),
  metadata jsonb not null default '{}',
  deleted_at timestamptz(3),
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  constraint agents_company_unique unique (company_id, id),
  constraint agents_default_environment_fk
    foreign key (company_id, default_environment_id) references environments (company_id, id),
  constraint agents_paused_has_time check ((status = 'paused') = (paused_at is not null)),
  constraint agents_deleted_is_terminated check (deleted_at is null or status = 'terminated')
);
create index agents_default_environment on agents (company_id, default_environment_id) where default_environment_id is not null;

create index agents_timer on agents (next_timer_at) where next_timer_at is not null;

create table agent_api_keys (
  id uuid primary key,
  company_id uuid not null,
  agent_id uuid not null,
  name text not null check (length(name) between 1 and 200),
  token_hash bytea not null,
  last_used_at timestamptz(3),
  revoked_at timestamptz(3),
  created_at timestamptz(3) not null default now(),
  constraint agent_api_keys_agent_fk foreign key (company_id, agent_id) references agents (company_id, id)
);
create index agent_api_keys_agent on agent_api_keys (company_id, agent_id, id);

create table execution_workspaces (
  id uuid primary key,
  company_id uuid not null references companies (id),
  environment_id uuid not null,
  name text not null check (length(name) between 1 and 200),
  mode text not null check (mode in ('shared', 'exclusive')),
  cwd text not null,
  host text,
  status text not null default 'active' check (status in ('active', 'archived')),
  metadata jsonb not null default '{}',
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  constraint execution_workspaces_company_unique unique (company_id, id),
  constraint execution_workspaces_name_unique unique (company_id, name),
  constraint execution_workspaces_environment_fk
    foreign key (company_id, environment_id) references environments (company_id, id),
  -- What a lease copies: the foreign key from there keeps the copy true, so the mode is fixed once it has been leased.
  constraint execution_workspaces_lease_key unique (company_id, environment_id, id, mode)
);

create table issues (
  id uuid primary key,
  company_id uuid not null references companies (id),
  number integer not null check (number > 0),
  identifier text not null,
  title text not null check (length(title) between 1 and 500),
  description text,
  status text not null default 'todo'
    check (status in ('backlog', 'todo', 'in_progress', 'in_review', 'done', 'blocked', 'cancelled')),
  priority text not null default 'medium' check (priority in ('critical', 'high', 'medium', 'low')),
  assignee_agent_id uuid,
  environment_id uuid,
  execution_workspace_id uuid,
  deleted_at timestamptz(3),
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  constraint issues_company_unique unique (company_id, id),
  constraint issues_number_unique unique (company_id, number),
  constraint issues_identifier_unique unique (identifier),
  constraint issues_assignee_fk foreign key (company_id, assignee_agent_id) references agents (company_id, id),
  constraint issues_environment_fk foreign key (company_id, environment_id) references environments (company_id, id),
  constraint issues_workspace_fk
    foreign key (company_id, execution_workspace_id) references execution_workspaces (company_id, id)
);
create index issues_assignee on issues (company_id, assignee_agent_id, id) where assignee_agent_id is not null;
create index issues_environment on issues (company_id, environment_id) where environment_id is not null;
create index issues_workspace on issues (company_id, execution_workspace_id) where execution_workspace_id is not null;

create table agent_wakeup_requests (
  id uuid primary key,
  company_id uuid not null,
  agent_id uuid not null,
  issue_id uuid,
  run_id uuid,
  source text not null check (source in ('timer', 'assignment', 'on_demand', 'automation')),
  trigger_detail text check (trigger_detail in ('manual', 'ping', 'callback', 'system')),
  reason text,
  payload jsonb not null default '{}',
  status text not null check (status in ('queued', 'deferred_issue_execution', 'claimed', 'coalesced', 'skipped',
    'completed', 'failed', 'cancelled')),
  status_reason text,
  coalesced_count integer not null default 0,
  requested_by_actor_type text not null check (requested_by_actor_type in ('agent', 'user', 'system', 'plugin')),
  requested_by_actor_id text not null,
  claimed_at timestamptz(3),
  finished_at timestamptz(3),
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  constraint agent_wakeup_requests_company_unique unique (company_id, id),
  constraint agent_wakeup_requests_agent_fk foreign key (company_id, agent_id) references agents (company_id, id),
  constraint agent_wakeup_requests_issue_fk foreign key (company_id, issue_id) references issues (company_id, id),
  constraint agent_wakeup_requests_ended_has_time
    check ((status in ('coalesced', 'skipped', 'completed', 'failed', 'cancelled')) = (finished_at is not null)),
  constraint agent_wakeup_requests_skip_explained check (status <> 'skipped' or status_reason is not null)
);
create index agent_wakeup_requests_agent on agent_wakeup_requests (company_id, agent_id, id);
create index agent_wakeup_requests_issue on agent_wakeup_requests (company_id, issue_id) where issue_id is not null;
-- Skips are counted, not collected: a timer that skips for years leaves one row.
create unique index agent_wakeup_requests_one_skipped on agent_wakeup_requests (agent_id, status_reason)
  where status = 'skipped';
-- Later wakes of an agent for a busy issue merge into the one that waits.
create unique index agent_wakeup_requests_one_deferred on agent_wakeup_requests (issue_id, agent_id)
  where status = 'deferred_issue_execution';

create table heartbeat_runs (
  id uuid primary key,
  company_id uuid not null,
  agent_id uuid not null,
  issue_id uuid,
  wakeup_request_id uuid,
  invocation_source text not null check (invocation_source in ('timer', 'assignment', 'on_demand', 'automation')),
  trigger_detail text check (trigger_detail in ('manual', 'ping', 'callback', 'system')),
  status text not null check (status in ('queued', 'scheduled_retry', 'running', 'succeeded', 'failed', 'cancelled',
    'timed_out')),
  -- From when the run may start; moved on by retries and by the back-off after an unexpected error while claiming.
  due_at timestamptz(3) not null default now(),
  claim_errors integer not null default 0,
  waiting_reason jsonb,
  context_snapshot jsonb not null default '{}',
  cancel_requested_at timestamptz(3),
  cancel_reason text,
  -- When a running run is stopped, and after how long without output; null for never.
  deadline_at timestamptz(3),
  idle_timeout_sec integer check (idle_timeout_sec > 0),
  lease_id uuid,
  -- Set exactly while the run is running; see the two deferred foreign keys below environment_leases.
  held_lease_id uuid generated always as (case when status = 'running' then lease_id end) stored,
  runner_id text,
  token_hash bytea,
  process_pid integer,
  process_group_id integer,
  process_started_at timestamptz(3),
  last_output_at timestamptz(3),
  log_bytes bigint not null default 0,
  stdout_excerpt text,
  stderr_excerpt text,
  exit_code integer,
  signal text,
  error text,
  error_code text,
  usage_json jsonb,
  result_json jsonb,
  issue_comment_status text check (issue_comment_status in ('not_applicable', 'satisfied', 'retry_queued',
    'retry_exhausted')),
  retry_of_run_id uuid,
  -- What its chain of retries has used up, carried from run to run.
  process_loss_retry_count integer not null default 0,
  shutdown_retry_count integer not null default 0,
  scheduled_retry_at timestamptz(3),
  scheduled_retry_attempt integer not null default 0,
  scheduled_retry_reason text,
  started_at timestamptz(3),
  finished_at timestamptz(3),
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  constraint heartbeat_runs_company_unique unique (company_id, id),
  constraint heartbeat_runs_holding_unique unique (id, held_lease_id),
  constraint heartbeat_runs_agent_fk foreign key (company_id, agent_id) references agents (company_id, id),
  constraint heartbeat_runs_issue_fk foreign key (company_id, issue_id) references issues (company_id, id),
  -- A wakeup and its run name each other and are inserted together: checked at commit.
  constraint heartbeat_runs_wakeup_fk foreign key (company_id, wakeup_request_id)
    references agent_wakeup_requests (company_id, id) deferrable initially deferred,
  constraint heartbeat_runs_retry_of_fk foreign key (company_id, retry_of_run_id) references heartbeat_runs (company_id, id),
  constraint heartbeat_runs_running_holds check (status <> 'running'
    or (lease_id is not null and started_at is not null and runner_id is not null)),
  constraint heartbeat_runs_ended_has_time
    check ((status in ('succeeded', 'failed', 'cancelled', 'timed_out')) = (finished_at is not null)),
  constraint heartbeat_runs_failed_has_reason
    check (status not in ('failed', 'timed_out') or (error is not null and error_code is not null)),
  constraint heartbeat_runs_retry_has_time check (status <> 'scheduled_retry' or scheduled_retry_at is not null)
);
-- An issue is worked on by one run at a time.
create unique index heartbeat_runs_one_live_per_issue on heartbeat_runs (issue_id) where status in ('queued', 'running');
-- A run has at most one successor: no retry storm.
create unique index heartbeat_runs_one_successor on heartbeat_runs (company_id, retry_of_run_id)
  where retry_of_run_id is not null;
create index heartbeat_runs_agent on heartbeat_runs (company_id, agent_id, id);
create index heartbeat_runs_issue on heartbeat_runs (company_id, issue_id, id) where issue_id is not null;
create index heartbeat_runs_wakeup on heartbeat_runs (company_id, wakeup_request_id);
create index heartbeat_runs_waiting on heartbeat_runs (agent_id, due_at) where status in ('queued', 'scheduled_retry');
create index heartbeat_runs_running on heartbeat_runs (agent_id) where status = 'running';
create index heartbeat_runs_running_in_company on heartbeat_runs (company_id) where status = 'running';

alter table agent_wakeup_requests add constraint agent_wakeup_requests_run_fk
  foreign key (company_id, run_id) references heartbeat_runs (company_id, id) deferrable initially deferred;
create index agent_wakeup_requests_run on agent_wakeup_requests (company_id, run_id) where run_id is not null;

create table environment_leases (
  id uuid primary key,
  company_id uuid not null,
  environment_id uuid not null,
  execution_workspace_id uuid,
  workspace_mode text,
  issue_id uuid,
  heartbeat_run_id uuid,
  holder text not null,
  status text not null check (status in ('active', 'released', 'expired', 'failed')),
  active_run_id uuid generated always as (case when status = 'active' then heartbeat_run_id end) stored,
  lease_policy text not null default 'ephemeral'
    check (lease_policy in ('ephemeral', 'reuse_by_environment', 'reuse_by_execution_workspace', 'retain_on_failure')),
  provider text not null,
  provider_lease_id text,
  fencing_token bigint not null default nextval('fencing_token'),
  runner_id text,
  host text,
  acquired_at timestamptz(3) not null,
  last_used_at timestamptz(3) not null,
  expires_at timestamptz(3) not null,
  released_at timestamptz(3),
  failure_reason text,
  metadata jsonb not null default '{}',
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  constraint environment_leases_company_unique unique (company_id, id),
  constraint environment_leases_holding_unique unique (active_run_id, id),
  constraint environment_leases_token_unique unique (fencing_token),
  constraint environment_leases_environment_fk
    foreign key (company_id, environment_id) references environments (company_id, id),
  constraint environment_leases_workspace_fk
    foreign key (company_id, environment_id, execution_workspace_id, workspace_mode)
    references execution_workspaces (company_id, environment_id, id, mode),
  constraint environment_leases_issue_fk foreign key (company_id, issue_id) references issues (company_id, id),
  constraint environment_leases_run_fk foreign key (company_id, heartbeat_run_id) references heartbeat_runs (company_id, id),
  constraint environment_leases_workspace_has_mode check ((execution_workspace_id is null) = (workspace_mode is null)),
  constraint environment_leases_ended_has_time check ((status = 'active') = (released_at is null)),
  constraint environment_leases_failure_explained check (status not in ('failed', 'expired') or failure_reason is not null),
  constraint environment_leases_interval check (released_at >= acquired_at and expires_at > acquired_at)
);
create index environment_leases_environment on environment_leases (company_id, environment_id, id);
create index environment_leases_workspace on environment_leases (company_id, execution_workspace_id)
  where execution_workspace_id is not null;
create index environment_leases_issue on environment_leases (company_id, issue_id) where issue_id is not null;
create index environment_leases_run on environment_leases (company_id, heartbeat_run_id) where heartbeat_run_id is not null;
create index environment_leases_active on environment_leases (environment_id) where status = 'active';
create index environment_leases_expiry on environment_leases (expires_at) where status = 'active';
-- Two runs never share an exclusive workspace, whatever the policy of their leases.
create unique index environment_leases_one_per_exclusive_workspace on environment_leases (execution_workspace_id)
  where status = 'active' and workspace_mode = 'exclusive';

-- A run is running exactly while its lease is active. Each side names the other through a column that is set only in
-- that state; both keys are checked at commit, so the two rows can only change together.
alter table heartbeat_runs add constraint heartbeat_runs_running_has_active_lease
  foreign key (id, held_lease_id) references environment_leases (active_run_id, id) deferrable initially deferred;
alter table environment_leases add constraint environment_leases_active_has_running_run
  foreign key (active_run_id, id) references heartbeat_runs (id, held_lease_id) deferrable initially deferred;

create table issue_comments (
  id uuid primary key,
  company_id uuid not null,
  issue_id uuid not null,
  author_type text not null check (author_type in ('user', 'agent', 'system')),
  author_agent_id uuid,
  created_by_run_id uuid,
  body text not null check (length(body) > 0),
  created_at timestamptz(3) not null default now(),
  constraint issue_comments_issue_fk foreign key (company_id, issue_id) references issues (company_id, id),
  constraint issue_comments_author_fk foreign key (company_id, author_agent_id) references agents (company_id, id),
  constraint issue_comments_run_fk foreign key (company_id, created_by_run_id) references heartbeat_runs (company_id, id),
  constraint issue_comments_agent_named check ((author_type = 'agent') = (author_agent_id is not null))
);
create index issue_comments_issue on issue_comments (company_id, issue_id, id);
create index issue_comments_author on issue_comments (company_id, author_agent_id) where author_agent_id is not null;
create index issue_comments_run on issue_comments (company_id, created_by_run_id) where created_by_run_id is not null;

create table heartbeat_run_events (
  seq bigint generated always as identity,
  id uuid primary key,
  company_id uuid not null,
  run_id uuid not null,
  agent_id uuid not null,
  event_type text not null
    check (event_type in ('lifecycle', 'heartbeat.run.status', 'adapter.invoke', 'heartbeat.run.log', 'error')),
  stream text check (stream in ('stdout', 'stderr', 'system')),
  level text not null default 'info' check (level in ('debug', 'info', 'warn', 'error')),
  message text,
  payload jsonb,
  created_at timestamptz(3) not null default now(),
  -- A run's first event is inserted with the run: checked at commit.
  constraint heartbeat_run_events_run_fk foreign key (company_id, run_id)
    references heartbeat_runs (company_id, id) deferrable initially deferred
);
create index heartbeat_run_events_run on heartbeat_run_events (company_id, run_id, seq);

-- A run's output as it came, in one sequence over both streams. stream_offset counts the bytes that the process wrote,
-- kept or not: a hole between two rows is output that the cap left out.
create table heartbeat_run_log_chunks (
  run_id uuid not null references heartbeat_runs (id),
  stream_offset bigint not null check (stream_offset >= 0),
  stream text not null check (stream in ('stdout', 'stderr', 'system')),
  written_at timestamptz(3) not null,
  content bytea not null,
  primary key (run_id, stream_offset)
);

-- The record. tx and seq order it for the stream: a cursor is a snapshot, and delivers what has become visible since.
create table activity_log (
  id uuid primary key,
  seq bigint generated always as identity,
  tx xid8 not null default pg_current_xact_id(),
  -- Written in the same flush as the company's own row: checked at commit.
  company_id uuid not null references companies (id) deferrable initially deferred,
  actor_type text not null check (actor_type in ('agent', 'user', 'system', 'plugin')),
  actor_id text not null,
  action text not null,
  entity_type text not null,
  entity_id text not null,
  agent_id uuid,
  run_id uuid,
  details jsonb not null default '{}',
  created_at timestamptz(3) not null default now()
);
create index activity_log_company on activity_log (company_id, seq);
create index activity_log_stream on activity_log (company_id, tx, seq);
create index activity_log_entity on activity_log (company_id, entity_type, entity_id, seq);
create index activity_log_agent on activity_log (company_id, agent_id, seq) where agent_id is not null;
create index activity_log_run on activity_log (company_id, run_id, seq) where run_id is not null;

-- The answer to a request that may be sent twice, written in the transaction that carried it out. A request that names
-- no company (creating one) has none here either.
create table idempotency_keys (
  id uuid primary key,
  company_id uuid,
  actor text not null,
  route text not null,
  key text not null check (length(key) between 1 and 200),
  body_hash bytea not null,
  status_code integer not null,
  answer jsonb not null,
  created_at timestamptz(3) not null default now(),
  constraint idempotency_keys_unique unique nulls not distinct (company_id, actor, route, key)
);
create index idempotency_keys_age on idempotency_keys (created_at);

-- What the read side derives instead of storing twice.
create function live_run_of_issue(issue uuid) returns uuid language sql stable as
  $$ select id from heartbeat_runs where issue_id = issue and status in ('queued', 'running') $$;
create function agent_is_running(agent uuid) returns boolean language sql stable as
  $$ select exists (select 1 from heartbeat_runs where agent_id = agent and status = 'running') $$;
