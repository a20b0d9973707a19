import { LOST_AFTER_SEC } from '../../heartbeat/runs/runners.service.js';

/** One value of one gauge. */
export interface StateRow {
  gauge:
    | 'queueDepth'
    | 'queueAge'
    | 'runs'
    | 'leases'
    | 'leasesOverdue'
    | 'leaseRequests'
    | 'places'
    | 'placesParked'
    | 'runners';
  labels: Record<string, string>;
  value: number;
}

/**
 * What is alive, in one statement. It reads rows that are live by the partial indexes that hold no others: history
 * makes it no slower. `now()` instead of the clock, because what an index is searched with may not change meanwhile.
 */
export const DATABASE_STATE = `
  with waiting as materialized (
    select status, due_at, coalesce(waiting_reason ->> 'code', 'unexplained') as reason
    from heartbeat_runs where status in ('queued', 'scheduled_retry')),
  queue as (
    select reason, count(*) as depth, extract(epoch from now() - min(due_at)) as age
    from waiting where due_at <= now() group by reason),
  runner as (
    select case when last_seen_at <= now() - interval '${LOST_AFTER_SEC} s' then 'lost'
      when draining_since is not null then 'draining' else 'live' end as state
    from runners where last_seen_at > now() - interval '1 day' and stopped_at is null)
  select gauge, labels, value::float8 from (
    select 'queueDepth' as gauge, jsonb_build_object('reason', reason) as labels, depth as value from queue
    union all select 'queueAge', jsonb_build_object('reason', reason), age from queue
    union all select 'runs', jsonb_build_object('status', s), (select count(*) from waiting where status = s)
      from unnest(array['queued', 'scheduled_retry']) s
    union all select 'runs', '{"status": "running"}', count(*) from heartbeat_runs where status = 'running'
    union all select 'leases', '{"status": "active"}', count(*) from environment_leases where status = 'active'
    union all select 'leasesOverdue', '{}', count(*) from environment_leases
      where status = 'active' and expires_at <= now()
    union all select 'leaseRequests', '{}', count(*) from lease_requests
    union all select 'places', jsonb_build_object('state', s), count(p.state)
      from unnest(array['realising', 'in_use', 'warm', 'retained', 'cleaning']) s
      left join environment_places p on p.state = s and p.state <> 'gone' group by s
    union all select 'placesParked', '{}', count(*) from environment_places where parked_at is not null
    union all select 'runners', jsonb_build_object('state', s), (select count(*) from runner where state = s)
      from unnest(array['live', 'draining', 'lost']) s) x`;
