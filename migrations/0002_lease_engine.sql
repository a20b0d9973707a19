-- The lease engine: slots, places, reservations, runners, and what is kept to explain and to prove.
--
-- Holding. A lease holds its environment while held_until is null: as long as it is active, and after that as long as
-- its place has not gone and nobody else has taken the place over. Capacity counts these rows, never a stored number.

-- Histories of slots and workspaces are held apart by exclusion constraints over a uuid and a range.
create extension if not exists btree_gist;

alter table instance
  add column quarantined_at timestamptz(3),
  add column quarantine_reason text,
  -- Up to here every token counts as given out, whether or not a lease in this database has it.
  add column token_floor bigint not null default 0,
  -- The database that the operator said was restored, as it was called then: it is believed once.
  add column restored_as text,
  add constraint instance_quarantine_explained check ((quarantined_at is null) = (quarantine_reason is null));

alter table environments
  add column lease_policy text not null default 'ephemeral'
    check (lease_policy in ('ephemeral', 'reuse_by_environment', 'reuse_by_execution_workspace', 'retain_on_failure')),
  -- How long a finished place waits for its next holder, and how long one of a failed run is kept to be looked at.
  add column warm_sec integer not null default 600 check (warm_sec > 0),
  add column retain_sec integer not null default 86400 check (retain_sec > 0);

-- Until now the host was noted and not looked at, as a name that other machines may have, too: any host may use those.
update execution_workspaces set host = null;

-- One row for each start of a process that executes runs.
create table runners (
  id uuid primary key,
  host text not null,
  host_name text not null,
  pid integer not null,
  slots integer not null check (slots > 0),
  version text not null,
  started_at timestamptz(3) not null default now(),
  last_seen_at timestamptz(3) not null default now(),
  -- Since when it claims nothing new, because it was asked to stop; and when it had stopped.
  draining_since timestamptz(3),
  stopped_at timestamptz(3)
);
create index runners_last_seen on runners (last_seen_at);

alter table heartbeat_runs
  -- Why it went where it went: which reference decided, and what the gate found. Written when it starts.
  add column placement jsonb,
  -- When the wish to end it takes effect, and as what. A wish with a grace lies in the future.
  add column cancel_at timestamptz(3),
  add column cancel_code text;
update heartbeat_runs set cancel_at = cancel_requested_at, cancel_code = 'cancelled' where cancel_requested_at is not null;
alter table heartbeat_runs
  add constraint heartbeat_runs_cancel_complete
    check ((cancel_requested_at is null) = (cancel_at is null) and (cancel_at is null) = (cancel_code is null));
create index heartbeat_runs_waiting_in_company on heartbeat_runs (company_id, due_at)
  where status in ('queued', 'scheduled_retry');

alter table environment_leases
  add column ttl_sec integer not null default 60 check (ttl_sec > 0),
  -- No renewal goes past this.
  add column lifetime_ends_at timestamptz(3),
  -- Of a run's lease: the one by which the run is held. Its own id, or for a further lease of that run the id of the first.
  add column run_lease_id uuid,
  -- Which of the places under the environment's capacity it has; null where the environment has no capacity.
  add column slot integer check (slot > 0),
  add column place_id uuid,
  add column held_until timestamptz(3),
  -- A reservation that an operator wants ended: when, and why.
  add column revoke_at timestamptz(3),
  add column revoke_reason text,
  add column holding_id uuid generated always as (case when held_until is null then id end) stored,
  add column lingering_id uuid generated always as (case when held_until is null and status <> 'active' then id end) stored;
update environment_leases set held_until = released_at, run_lease_id = case when heartbeat_run_id is not null then id end,
  lifetime_ends_at = greatest(acquired_at + interval '1 day', expires_at);
alter table environment_leases
  alter column lifetime_ends_at set not null,
  add constraint environment_leases_lifetime check (expires_at <= lifetime_ends_at),
  add constraint environment_leases_of_run_has_run_lease check ((heartbeat_run_id is null) = (run_lease_id is null)),
  add constraint environment_leases_held_while_active check (held_until is null or status <> 'active'),
  add constraint environment_leases_held_by_something
    check (held_until is not null or status = 'active' or place_id is not null),
  add constraint environment_leases_held_past_release check (held_until >= released_at),
  add constraint environment_leases_revocation_explained check ((revoke_at is null) = (revoke_reason is null)),
  add constraint environment_leases_place_key unique (id, holding_id),
  -- Not even in history: one slot, and one exclusive workspace, is held by one lease at a time.
  add constraint environment_leases_slot_never_shared
    exclude using gist (environment_id with =, slot with =, tstzrange(acquired_at, held_until) with &&)
    where (slot is not null),
  add constraint environment_leases_workspace_never_shared
    exclude using gist (execution_workspace_id with =, tstzrange(acquired_at, released_at) with &&)
    where (workspace_mode = 'exclusive');
-- Every active lease of a run, not only its first, needs the run running under that first one.
alter table environment_leases drop constraint environment_leases_active_has_running_run;
alter table environment_leases add constraint environment_leases_active_has_running_run
  foreign key (active_run_id, run_lease_id) references heartbeat_runs (id, held_lease_id) deferrable initially deferred;

-- What was held at a time of the past. Leases that have ended are not renewed, which would write this, too.
create index environment_leases_as_of on environment_leases using gist (company_id, tstzrange(acquired_at, released_at))
  where status <> 'active';
drop index environment_leases_active;
create index environment_leases_holding on environment_leases (environment_id) where held_until is null;
create index environment_leases_of_runner on environment_leases (runner_id) where status = 'active';
create index environment_leases_further on environment_leases (run_lease_id)
  where status = 'active' and run_lease_id <> id;
create index environment_leases_revoked on environment_leases (revoke_at) where status = 'active' and revoke_at is not null;
create index environment_leases_slot_history on environment_leases (environment_id, slot, acquired_at)
  where slot is not null;
create index environment_leases_workspace_history on environment_leases (execution_workspace_id, acquired_at)
  where workspace_mode = 'exclusive';

-- What a driver made for a lease and has to take down again. The row is committed before the thing is made, and the
-- thing is named after the row.
create table environment_places (
  id uuid primary key,
  company_id uuid not null,
  environment_id uuid not null,
  execution_workspace_id uuid,
  -- Whoever holds it, or held it last.
  lease_id uuid not null,
  holding_lease_id uuid generated always as (case when state <> 'gone' then lease_id end) stored,
  state text not null check (state in ('realising', 'in_use', 'warm', 'retained', 'cleaning', 'gone')),
  driver text not null,
  adapter_type text,
  -- Of driver and config: who finds the same may take it over.
  config_fingerprint text not null,
  -- Who alone can take it down; null for any host.
  host text,
  -- Everything that taking it down needs, as it was when it was made.
  facts jsonb not null,
  provider_lease_id text,
  -- Until then somebody may still be making it: that it is not there proves nothing before.
  realise_deadline_at timestamptz(3) not null,
  -- How long it is kept warm or retained.
  keep_until timestamptz(3),
  attempts integer not null default 0,
  next_attempt_at timestamptz(3),
  last_error text,
  -- Given up after too many attempts, until an operator looks.
  parked_at timestamptz(3),
  gone_at timestamptz(3),
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  constraint environment_places_company_unique unique (company_id, id),
  constraint environment_places_holding_unique unique (id, holding_lease_id),
  constraint environment_places_environment_fk
    foreign key (company_id, environment_id) references environments (company_id, id),
  constraint environment_places_workspace_fk
    foreign key (company_id, execution_workspace_id) references execution_workspaces (company_id, id),
  -- Lease and place are inserted together: checked at commit.
  constraint environment_places_lease_fk foreign key (company_id, lease_id)
    references environment_leases (company_id, id) deferrable initially deferred,
  constraint environment_places_gone_has_time check ((state = 'gone') = (gone_at is not null)),
  constraint environment_places_kept_has_time check ((state in ('warm', 'retained')) = (keep_until is not null)),
  constraint environment_places_cleaning_has_time check ((state = 'cleaning') = (next_attempt_at is not null)),
  constraint environment_places_parked_is_cleaning check (parked_at is null or state = 'cleaning')
);
create index environment_places_environment on environment_places (company_id, environment_id, id);
create index environment_places_workspace on environment_places (company_id, execution_workspace_id)
  where execution_workspace_id is not null;
create index environment_places_kept on environment_places (environment_id) where state in ('warm', 'retained');
create index environment_places_not_gone on environment_places (state) where state <> 'gone';
create index environment_places_keep_until on environment_places (keep_until) where state in ('warm', 'retained');
create index environment_places_next_attempt on environment_places (host, next_attempt_at)
  where state = 'cleaning' and parked_at is null;
create index environment_places_parked on environment_places (parked_at) where parked_at is not null;
create index environment_places_of_host on environment_places (host) where state <> 'gone' and host is not null;

alter table environment_leases add constraint environment_leases_place_fk
  foreign key (company_id, place_id) references environment_places (company_id, id) deferrable initially deferred;
-- A place that has not gone has a lease that still holds, and a lease that holds after its end has such a place: neither
-- can change without the other.
alter table environment_places add constraint environment_places_not_gone_is_held
  foreign key (lease_id, holding_lease_id) references environment_leases (id, holding_id) deferrable initially deferred;
create index environment_places_held_by on environment_places (lease_id, holding_lease_id);
alter table environment_leases add constraint environment_leases_lingering_has_place
  foreign key (place_id, lingering_id) references environment_places (id, holding_lease_id) deferrable initially deferred;
create index environment_leases_lingering on environment_leases (place_id, lingering_id) where place_id is not null;

-- Somebody outside who waits for a lease over HTTP: in one queue with the runs.
create table lease_requests (
  id uuid primary key,
  company_id uuid not null,
  environment_id uuid not null,
  execution_workspace_id uuid,
  holder text not null,
  waiting_reason jsonb,
  -- When its caller was last known to wait.
  seen_at timestamptz(3) not null default now(),
  give_up_at timestamptz(3) not null,
  created_at timestamptz(3) not null default now(),
  constraint lease_requests_environment_fk
    foreign key (company_id, environment_id) references environments (company_id, id),
  constraint lease_requests_workspace_fk
    foreign key (company_id, execution_workspace_id) references execution_workspaces (company_id, id)
);
create index lease_requests_environment on lease_requests (company_id, environment_id, created_at);
create index lease_requests_workspace on lease_requests (company_id, execution_workspace_id)
  where execution_workspace_id is not null;
