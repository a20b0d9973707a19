/** What has to hold of leases at any time, whatever the model says: each query finds what breaks its rule. */
export const LEASE_INVARIANTS: Record<string, string> = {
  'no lease of an ended run is active, and no run runs without its own': `
    select l.id::text as id, r.status as detail from environment_leases l join heartbeat_runs r on r.id = l.heartbeat_run_id
    where l.status = 'active' and r.status <> 'running'
    union all select r.id::text, 'no active lease' from heartbeat_runs r
    where r.status = 'running' and not exists (select from environment_leases l where l.id = r.lease_id and l.status = 'active')`,
  'an exclusive workspace has one holder': `
    select execution_workspace_id::text, count(*)::text from environment_leases
    where workspace_mode = 'exclusive' and status = 'active' group by execution_workspace_id having count(*) > 1`,
  'a slot has one holder': `
    select environment_id::text, slot || ' ' || count(*) from environment_leases
    where slot is not null and held_until is null group by environment_id, slot having count(*) > 1`,
  'one holder of a slot begins when the one before has ended, with a higher token': `
    select id::text, slot || ' ' || acquired_at || ' ' || until from (
      select id, slot, acquired_at, fencing_token, lag(coalesce(held_until, 'infinity')) over history as until,
        lag(acquired_at) over history as before
      from environment_leases where slot is not null
      window history as (partition by environment_id, slot order by fencing_token)) h
    where acquired_at < until`,
  'one holder of an exclusive workspace begins when the one before has ended, with a higher token': `
    select id::text, acquired_at || ' ' || until from (
      select id, acquired_at, lag(coalesce(released_at, 'infinity')) over (
        partition by execution_workspace_id order by fencing_token) as until
      from environment_leases where workspace_mode = 'exclusive') h
    where acquired_at < until`,
  'nothing lasts past its lifetime, and what has ended says when': `
    select id::text, status from environment_leases
    where expires_at > lifetime_ends_at or (status = 'active') <> (released_at is null) or held_until < released_at`,
  'every end of a lease is in the record, once': `
    select l.id::text, l.status || ' ' || told.ends from environment_leases l cross join lateral (
      select count(*) filter (where a.action <> 'environment.lease_acquired') as ends,
        count(*) filter (where a.action = 'environment.lease_acquired') as begins
      from activity_log a where a.company_id = l.company_id and a.entity_id = l.id::text
        and a.action in ('environment.lease_acquired', 'environment.lease_released', 'environment.lease_expired',
          'environment.lease_failed')) told
    where told.begins <> 1 or told.ends <> (l.status <> 'active')::integer`,
  'no claim fails': `select id::text, waiting_reason::text from heartbeat_runs where claim_errors > 0`,
  'a run has at most one successor': `
    select retry_of_run_id::text, count(*)::text from heartbeat_runs where retry_of_run_id is not null
    group by retry_of_run_id having count(*) > 1`,
};
