/** What has to hold of the record at any time: each query finds what breaks its rule. */
export const INVARIANTS: Record<string, string> = {
  'an issue has at most one live run': `
    select issue_id::text as id, count(*)::text as detail from heartbeat_runs
    where issue_id is not null and status in ('queued', 'running') group by issue_id having count(*) > 1`,
  'an agent runs no more than its cap': `
    select a.id::text, count(*)::text from agents a join heartbeat_runs r on r.agent_id = a.id and r.status = 'running'
    group by a.id having count(*) > a.max_concurrent_runs`,
  'a company runs no more than its cap': `
    select c.id::text, count(*)::text from companies c join heartbeat_runs r on r.company_id = c.id and r.status = 'running'
    group by c.id having count(*) > c.max_concurrent_runs`,
  'a run is running exactly while its lease is active': `
    select r.id::text, r.status || ' ' || l.status from heartbeat_runs r join environment_leases l on l.heartbeat_run_id = r.id
    where (r.status = 'running') <> (l.status = 'active') or r.lease_id <> l.id
    union all select r.id::text, 'no lease' from heartbeat_runs r
    where r.status = 'running' and not exists (select 1 from environment_leases l where l.heartbeat_run_id = r.id)`,
  'a wake is a run, has joined one, or has none': `
    select w.id::text, w.status || ' ' || coalesce(r.status, 'no run') from agent_wakeup_requests w
    left join heartbeat_runs r on r.id = w.run_id
    where not coalesce(case w.status when 'coalesced' then r.agent_id = w.agent_id else r.id is null end, false)
    union all select r.id::text, 'no wake' from heartbeat_runs r where r.wakeup_request_id is null
    union all select r.id::text, 'its wake waits, too' from heartbeat_runs r
      join agent_wakeup_requests w on w.id = r.wakeup_request_id`,
  'a wake that came to nothing says why': `
    select id::text, status from agent_wakeup_requests
    where status in ('skipped', 'cancelled', 'deferred_issue_execution') and status_reason is null
      or (status = 'deferred_issue_execution') <> (status_reason = 'issue_has_live_run')`,
  'a run knows every comment and every reason of its wakes': `
    select w.id::text, r.context_snapshot::text from agent_wakeup_requests w join heartbeat_runs r on r.id = w.run_id
    where not coalesce(r.context_snapshot -> 'wakeCommentIds', '[]') @> (coalesce(w.payload -> 'wakeCommentIds', '[]')
        || coalesce(jsonb_build_array(w.payload -> 'commentId') - 'null', '[]'))
      and w.payload ->> 'commentId' is not null
      or w.reason is not null
        and not r.context_snapshot -> 'wakeReasons' @> jsonb_build_array(w.reason)`,
  'comments are in order, without repeats': `
    select id::text, ids::text from (
      select id, context_snapshot -> 'wakeCommentIds' as ids, context_snapshot ->> 'wakeCommentId' as last from heartbeat_runs
      union all
      select id, payload -> 'wakeCommentIds', payload ->> 'wakeCommentId' from agent_wakeup_requests) x
    where jsonb_typeof(ids) = 'array' and (
      ids <> (select jsonb_agg(distinct e.value order by e.value) from jsonb_array_elements(ids) e)
      or last is distinct from ids ->> -1)`,
  'a run has at most one successor': `
    select retry_of_run_id::text, count(*)::text from heartbeat_runs where retry_of_run_id is not null
    group by retry_of_run_id having count(*) > 1`,
  'no retry beyond the budget of its chain': `
    with recursive chain as (
      select id, id as root, scheduled_retry_reason as reason from heartbeat_runs where retry_of_run_id is null
      union all
      select r.id, c.root, r.scheduled_retry_reason from chain c join heartbeat_runs r on r.retry_of_run_id = c.id)
    select root::text, string_agg(reason, ', ' order by id) from chain where reason is not null group by root
    having count(*) filter (where reason = 'process_lost') > 1 or count(*) filter (where reason = 'runner_shutdown') > 1
      or count(*) filter (where reason = 'transient_upstream') > 4
      or count(*) filter (where reason = 'missing_issue_comment') > 1`,
  'a cancelled run has no successor, and what is to be cancelled ends so': `
    select r.id::text, r.status from heartbeat_runs r
    where r.status = 'cancelled' and exists (select 1 from heartbeat_runs s where s.retry_of_run_id = r.id)
      or r.cancel_requested_at is not null and r.status not in ('running', 'cancelled')`,
  'no run of a paused or terminated agent starts': `
    select s.entity_id, halt.action from activity_log s cross join lateral (
      select a.action from activity_log a where a.agent_id = s.agent_id and a.seq < s.seq
        and a.action in ('agent.paused', 'agent.resumed', 'agent.terminated') order by a.seq desc limit 1) halt
    where s.action = 'heartbeat.started' and halt.action <> 'agent.resumed'`,
  'a terminated agent has nothing under way': `
    select a.id::text, r.status from agents a join heartbeat_runs r on r.agent_id = a.id
    where a.status = 'terminated' and (r.status in ('queued', 'scheduled_retry')
      or r.status = 'running' and r.cancel_requested_at is null)
    union all select w.id::text, w.status from agents a join agent_wakeup_requests w on w.agent_id = a.id
    where a.status = 'terminated' and w.status = 'deferred_issue_execution'`,
  'the last that the record says of a run is its status': `
    select r.id::text, r.status || ' ' || coalesce(last.action, 'nothing') from heartbeat_runs r left join lateral (
      select a.action from activity_log a where a.entity_type = 'heartbeat_run' and a.entity_id = r.id::text
        and a.action like 'heartbeat.%' order by a.seq desc limit 1) last on true
    where not coalesce(last.action = any(case r.status
      when 'queued' then '{heartbeat.invoked,heartbeat.queued,heartbeat.coalesced,heartbeat.retry_scheduled}'::text[]
      when 'scheduled_retry' then '{heartbeat.retry_scheduled}'
      when 'running' then '{heartbeat.started,heartbeat.cancel_requested}'
      else array['heartbeat.' || r.status] end), false)`,
  'each step of a run is recorded once': `
    select entity_id, action || ' ' || count(*) from activity_log
    where entity_type = 'heartbeat_run' and action in ('heartbeat.invoked', 'heartbeat.retry_scheduled', 'heartbeat.started',
      'heartbeat.succeeded', 'heartbeat.failed', 'heartbeat.timed_out', 'heartbeat.cancelled', 'heartbeat.cancel_requested')
    group by entity_id, action having count(*) > 1`,
  'the last that the record says of a wake without a run is its status': `
    select w.id::text, w.status || ' ' || coalesce(last.action, 'nothing') from agent_wakeup_requests w left join lateral (
      select a.action from activity_log a where a.entity_type = 'agent_wakeup_request' and a.entity_id = w.id::text
        order by a.seq desc limit 1) last on true
    where w.run_id is null and last.action is distinct from
      case w.status when 'deferred_issue_execution' then 'heartbeat.deferred' else 'heartbeat.skipped' end`,
  'the last that the record says of a lease is its status': `
    select l.id::text, l.status || ' ' || coalesce(last.action, 'nothing') from environment_leases l left join lateral (
      select a.action from activity_log a where a.entity_id = l.id::text and a.action like 'environment.lease_%'
        order by a.seq desc limit 1) last on true
    where last.action is distinct from
      'environment.lease_' || case l.status when 'active' then 'acquired' else l.status end`,
  'the comment status of a run says what was done': `
    select r.id::text, r.issue_comment_status from heartbeat_runs r
    left join heartbeat_runs s on s.retry_of_run_id = r.id
    where (r.issue_comment_status = 'retry_queued') <> (coalesce(s.scheduled_retry_reason, '') = 'missing_issue_comment')
      or (r.issue_comment_status = 'satisfied') and not exists (select 1 from issue_comments c where c.created_by_run_id = r.id)
      or r.issue_comment_status in ('retry_queued', 'retry_exhausted')
        and exists (select 1 from issue_comments c where c.created_by_run_id = r.id and c.issue_id = r.issue_id)`,
  'nothing that an agent does to an issue wakes it': `
    select id::text, reason from agent_wakeup_requests
    where requested_by_actor_type = 'agent' and requested_by_actor_id = agent_id::text and source <> 'on_demand'
    union all select entity_id, details ->> 'reason' from activity_log
    where action = 'heartbeat.queued' and actor_type = 'agent' and actor_id = agent_id::text`,
  'an agent has at most one pending timer wake': `
    select agent_id::text, count(*)::text from heartbeat_runs where invocation_source = 'timer' and status = 'queued'
      and retry_of_run_id is null group by agent_id having count(*) > 1`,
  'no claim fails': `select id::text, waiting_reason::text from heartbeat_runs where claim_errors > 0`,
};

/** What does not hold between the death of a finaliser and the next pass. */
export const NOTHING_STRANDS = `
  select w.id::text, w.payload::text as detail from agent_wakeup_requests w where w.status = 'deferred_issue_execution'
    and not exists (select 1 from heartbeat_runs r where r.issue_id = w.issue_id and r.status in ('queued', 'running'))`;
