import { DESTINATION } from '../../environments/destination.js';
import { isFresh, TURN, WAITING, waitsForRoom } from './turns.js';

/** How many reservations wait for room in environment b longer than run q does. */
const EARLIER_REQUESTS = `(select count(*) from lease_requests ahead
  where ahead.company_id = b.company_id and ahead.environment_id = b.id and ahead.created_at < q.due_at
    and ${waitsForRoom('ahead')})`;

/**
 * Whether issue, environment and workspace of a waiting run q can be had now, on this host; each is decided again when
 * it is held. Room that a warm place takes up can be had: the place fits, or gives way.
 */
const OPEN = `not exists (select 1 from heartbeat_runs o
    where o.issue_id = q.issue_id and o.status in ('queued', 'running') and o.id <> q.id)
  and not exists (select 1 from environments e where e.id = q.to_environment and e.status = 'draining' and e.deleted_at is null)
  and not exists (select 1 from bounded b where b.id = q.to_environment and b.room <= ${EARLIER_REQUESTS}
    and not exists (select 1 from heartbeat_runs former join environment_places p on p.state = 'retained' and p.lease_id = any(array(
        select former.lease_id union all
        select further.id from environment_leases further
        where further.run_lease_id = former.lease_id and further.run_lease_id <> further.id))
      where former.id = q.retry_of_run_id))
  and (q.workspace_host is null or q.workspace_host = (select id from this_host))
  and not exists (select 1 from environment_leases l
    where l.execution_workspace_id = q.workspace_id and l.status = 'active' and l.workspace_mode = 'exclusive')
  and not exists (select 1 from lease_requests ahead
    where q.workspace_mode = 'exclusive' and ahead.company_id = q.company_id and ahead.execution_workspace_id = q.workspace_id
      and ahead.created_at < q.due_at and ${isFresh('ahead')})`;

/**
 * Finds runs to start, without locks: (host, limit, limit). Turns go round the companies, first whoever acquired a
 * lease longest ago (lease ids rise with time), in each round the agents, first whoever started longest ago; of an agent's
 * runs the one that waits longest, by `TURN`. Agents with waiting runs are found by skipping along an index; their runs are
 * looked at in the agents' turn, and no further than for `limit` rows, of which each agent has its share.
 *
 * `fits` says whether company and environment have room for the row beside those before it, `cut` that its agent may have
 * more that can start.
 */
export const CANDIDATES = `with recursive waiting as (
    (select company_id, agent_id, due_at from heartbeat_runs where status in ${WAITING}
      order by company_id, agent_id, due_at limit 1)
    union all
    select next.* from waiting w cross join lateral (
      select r.company_id, r.agent_id, r.due_at from heartbeat_runs r
      where r.status in ${WAITING} and (r.company_id, r.agent_id) > (w.company_id, w.agent_id)
      order by r.company_id, r.agent_id, r.due_at limit 1) next),
  this_host as (select ?::text as id),
  awake as materialized (
    select a.id, a.default_environment_id, a.last_heartbeat_at, a.company_id, a.max_concurrent_runs as agent_cap,
      c.default_environment_id as company_default, c.max_concurrent_runs as company_cap,
      a.status = 'terminated' or c.status = 'archived' as gone, greatest(?::integer / count(*) over (), 1) as share,
      row_number() over (partition by a.company_id order by a.last_heartbeat_at nulls first, waiting.due_at) as turn
    from waiting
    -- One by one, whatever the planner takes the number of agents to be.
    cross join lateral (select * from agents where id = waiting.agent_id limit 1) a
    join companies c on c.id = a.company_id
    where waiting.due_at <= clock_timestamp() and (a.status not in ('paused', 'pending_approval') or c.status = 'archived')),
  owners as materialized (
    select o.company_id, o.company_cap - (select count(*) from heartbeat_runs b
        where o.company_cap is not null and b.company_id = o.company_id and b.status = 'running') as company_free,
      (select l.id from environment_leases l where l.company_id = o.company_id order by l.id desc limit 1) as last_lease
    from (select distinct company_id, company_cap from awake) o),
  bounded as materialized (
    select e.id, e.company_id, e.capacity - (select count(*) from (select 1 from environment_leases h
        where h.environment_id = e.id and h.held_until is null limit e.capacity) held)
      + (select count(*) from (select 1 from environment_places p
        where p.environment_id = e.id and p.state = 'warm' limit e.capacity) warm) as room
    from owners join environments e on e.company_id = owners.company_id
    where e.capacity is not null and e.deleted_at is null),
  free as (
    select r.*, a.gone, a.company_free, a.last_lease, a.last_heartbeat_at, r.turn = a.share as cut
    -- In their turn before their runs are looked at, so that no more are than there is room for.
    from (select awake.*, company_free, last_lease from awake join owners on owners.company_id = awake.company_id
      where gone or company_free is null or company_free > 0 order by turn, last_lease nulls first) a
    cross join lateral (select case when not a.gone then greatest(a.agent_cap - count(*), 0) end as agent_free
      from heartbeat_runs b where b.company_id = a.company_id and b.agent_id = a.id and b.status = 'running') busy
    cross join lateral (
      select q.id, q.agent_id, q.company_id, q.waits_since, q.to_environment,
        case when q.status = 'scheduled_retry' then q.issue_id end as issue,
        row_number() over (order by q.waits_since, q.id) as turn
      from (
        select q.*, ${TURN} as waits_since, w.id as workspace_id, w.host as workspace_host, w.mode as workspace_mode,
          ${DESTINATION} as to_environment
        from (select id, agent_id, company_id, issue_id, retry_of_run_id, status, due_at from heartbeat_runs
          where company_id = a.company_id and agent_id = a.id and status in ${WAITING} and due_at <= clock_timestamp()) q
        left join issues i on i.id = q.issue_id
        left join execution_workspaces w on w.id = i.execution_workspace_id
        cross join lateral (select a.company_id as id, a.company_default as default_environment_id) c
        order by waits_since, q.id offset 0) q
      where a.gone or ${OPEN}
      order by q.waits_since, q.id limit least(busy.agent_free, a.share)) r
    limit ?),
  fair as (
    select f.*, row_number() over (partition by f.company_id
        order by f.turn, f.last_heartbeat_at nulls first, f.waits_since) as company_turn,
      row_number() over (partition by f.company_id, f.to_environment
        order by f.turn, f.last_heartbeat_at nulls first, f.waits_since) as environment_turn
    from free f)
  select f.id, agent_id, f.company_id, company_free is not null as capped, issue, cut,
    gone or (company_free is null or company_turn <= company_free)
      and (b.id is null or environment_turn <= b.room or b.room <= 0) as fits
  from fair f left join bounded b on b.id = f.to_environment
  order by company_turn, last_lease nulls first, waits_since`;
