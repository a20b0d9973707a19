import { LOST_AFTER_SEC } from '../runs/runners.service.js';
import { DECIDED_BY, DESTINATION } from '../../environments/destination.js';
import { isFresh, waitsForRoom } from '../claiming/turns.js';

/** Why a run that could be due has not started; the sentences are beside the codes, in `REASONS`. */
export type WaitingCode = keyof typeof REASONS;

/** What somebody is told, of the scope's name. Whoever holds it is added when it is read. */
export const REASONS = {
  agent_paused: () => 'The agent is paused',
  agent_pending_approval: () => 'The agent is waiting for approval',
  claim_failed: () => 'It could not be started, and is tried again later',
  not_due: (dueAt) => `It is not due before ${dueAt}`,
  issue_busy: (name) => `Another run is working on the issue ${name}`,
  agent_at_capacity: () => 'The agent is at its cap',
  company_at_capacity: () => 'The company is at its cap',
  environment_draining: (name) => `The environment "${name}" is draining`,
  environment_at_capacity: (name) => `The environment "${name}" is at its capacity`,
  reservation_first: (name) => `A reservation of the environment "${name}" waits longer`,
  workspace_occupied: (name) => `The exclusive workspace "${name}" is in use`,
  workspace_host_away: (name) => `No runner is alive on the host that the workspace "${name}" belongs to`,
  no_runner: () => 'No runner is alive',
  no_free_slot: () => 'A runner takes it as soon as one has a free slot',
} satisfies Record<string, (name: string) => string>;

/** A waiting run as it is now, and what keeps it from starting. */
export interface BlockedRow {
  id: string;
  agent_id: string;
  due_at: string;
  code: WaitingCode;
  scope_type: 'agent' | 'company' | 'issue' | 'environment' | 'workspace' | null;
  scope_id: string | null;
  scope_name: string | null;
  environment_id: string | null;
  environment_name: string | null;
  decided_by: string;
  stored_code: string | null;
  stored_scope_id: string | null;
}

/** What keeps somebody waiting, as far as it takes to say who has it. */
export type Blocked = Pick<BlockedRow, 'id' | 'due_at' | 'code' | 'scope_type' | 'scope_id' | 'scope_name'>;

const RUNNER_IS_ALIVE = `runner.stopped_at is null and runner.draining_since is null
  and runner.last_seen_at > clock_timestamp() - interval '${LOST_AFTER_SEC} seconds'`;

/**
 * Selects a `BlockedRow` for each of the waiting runs q that `which` names: the first thing in the gate's order that keeps it
 * from starting. Read without locks: it explains, and decides nothing.
 */
export const blocked = (which: string): string => `
  select q.id, q.agent_id, q.due_at, why.code, e.id as environment_id, e.name as environment_name, ${DECIDED_BY} as decided_by,
    case scope.type when 'agent' then a.id when 'company' then c.id when 'issue' then i.id when 'environment' then e.id
      when 'workspace' then w.id end as scope_id,
    scope.type as scope_type,
    case scope.type when 'agent' then a.name when 'company' then c.name when 'issue' then i.identifier
      when 'environment' then e.name when 'workspace' then w.name end as scope_name,
    q.waiting_reason ->> 'code' as stored_code, (q.waiting_reason #>> '{scope,id}')::uuid as stored_scope_id
  from heartbeat_runs q
  join agents a on a.id = q.agent_id
  join companies c on c.id = q.company_id
  left join issues i on i.id = q.issue_id
  left join execution_workspaces w on w.id = i.execution_workspace_id
  left join environments e on e.id = ${DESTINATION}
  cross join lateral (select case
    when a.status = 'paused' then 'agent_paused'
    when a.status = 'pending_approval' then 'agent_pending_approval'
    when q.due_at > clock_timestamp() then case when q.claim_errors > 0 then 'claim_failed' else 'not_due' end
    when (select count(*) from heartbeat_runs b where b.company_id = a.company_id and b.agent_id = a.id
      and b.status = 'running') >= a.max_concurrent_runs
      then 'agent_at_capacity'
    when c.max_concurrent_runs is not null and (select count(*) from heartbeat_runs b
      where b.company_id = c.id and b.status = 'running') >= c.max_concurrent_runs then 'company_at_capacity'
    when exists (select 1 from heartbeat_runs o
      where o.issue_id = q.issue_id and o.status in ('queued', 'running') and o.id <> q.id) then 'issue_busy'
    when e.status = 'draining' then 'environment_draining'
    when e.capacity is not null and (select count(*) from environment_leases h
      where h.environment_id = e.id and h.held_until is null) >= e.capacity then 'environment_at_capacity'
    when w.mode = 'exclusive' and exists (select 1 from environment_leases l
      where l.execution_workspace_id = w.id and l.status = 'active') then 'workspace_occupied'
    when w.host is not null and not exists (select 1 from runners runner
      where runner.host = w.host and ${RUNNER_IS_ALIVE}) then 'workspace_host_away'
    when exists (select 1 from lease_requests ahead where ahead.company_id = q.company_id and ahead.created_at < q.due_at
      and (w.mode = 'exclusive' and ahead.execution_workspace_id = w.id and ${isFresh('ahead')}
        or e.capacity is not null and ahead.environment_id = e.id and ${waitsForRoom('ahead')})) then 'reservation_first'
    when not exists (select 1 from runners runner where ${RUNNER_IS_ALIVE}) then 'no_runner'
    else 'no_free_slot' end as code) why
  cross join lateral (select case
    when why.code in ('agent_paused', 'agent_pending_approval', 'agent_at_capacity') then 'agent'
    when why.code = 'company_at_capacity' then 'company'
    when why.code = 'issue_busy' then 'issue'
    when why.code in ('environment_draining', 'environment_at_capacity', 'reservation_first') then 'environment'
    when why.code in ('workspace_occupied', 'workspace_host_away') then 'workspace' end as type) scope
  where q.status in ('queued', 'scheduled_retry') and ${which}`;
