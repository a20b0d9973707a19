-- Retention: what has ended is removed after its time, by pages, and what may be missing since is told.

-- Settings in days, of which 0 is for ever; what is not said is the instance's. Until now anything was taken in and nothing
-- came of it.
update companies set retention = '{}'
where retention - '{activityDays,runDays,runLogDays}'::text[] <> '{}'
  or jsonb_path_exists(retention, '$.* ? (@.type() <> "number" || @ < 0 || @ > 36500 || @ <> @.floor())');
alter table companies add constraint companies_retention_in_days
  check (retention - '{activityDays,runDays,runLogDays}'::text[] = '{}'
    and not jsonb_path_exists(retention, '$.* ? (@.type() <> "number" || @ < 0 || @ > 36500 || @ <> @.floor())'));

-- How far back each kind of thing is complete.
create table retention_horizons (
  company_id uuid not null references companies (id),
  kind text not null check (kind in ('activity', 'runs', 'runLogs')),
  -- What ended before this may be gone; null while nothing has been removed.
  complete_since timestamptz(3),
  -- Everything before this has been looked at.
  swept_to timestamptz(3),
  -- Of logs: up to this run all have been looked at for good.
  resume_after uuid,
  -- Of the record: the youngest transaction of which an entry was removed.
  through_tx xid8,
  primary key (company_id, kind)
);

-- What came of the last pass, for each kind.
create table retention_passes (
  kind text primary key check (kind in ('activity', 'runs', 'runLogs')),
  started_at timestamptz(3) not null,
  -- Null while it goes on, or when its process died.
  finished_at timestamptz(3),
  removed bigint not null default 0,
  error text,
  constraint retention_passes_in_order check (finished_at >= started_at)
);

-- What removed entries said of things that are still there.
create table activity_folds (
  company_id uuid not null references companies (id),
  entity_type text not null,
  entity_id text not null,
  -- The state that they made, and the entry that made it.
  state text not null,
  seq bigint not null,
  at timestamptz(3) not null,
  -- How many beginnings and ends of a run or a lease were among them.
  begins integer not null,
  ends integer not null,
  primary key (company_id, entity_type, entity_id)
);

-- The lowest id that can have been made at a time: what ended before it has a lower one.
create function first_id_at(at timestamptz) returns uuid language sql immutable return
  (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;

-- Wakes that became no run; the others go with theirs.
create index agent_wakeup_requests_without_run on agent_wakeup_requests (company_id, id) where run_id is null;

-- Rows come in at one end and go at the other. Vacuum makes room for the next ones before a fifth of all is dead.
alter table activity_rows set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 10000);
alter table agent_wakeup_requests set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 10000);
alter table heartbeat_run_log_chunks set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 10000,
  toast.autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_threshold = 10000);
