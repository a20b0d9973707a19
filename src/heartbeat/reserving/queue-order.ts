// The order in which reservations get what they wait for, as SQL over a wish x (company_id, environment_id,
// execution_workspace_id, since), its environment e and its workspace w. Whoever waits longer comes first, a run or a
// reservation; `CANDIDATES` says the same from the side of the runs.

import { isFresh, WAITING, waitsForRoom } from '../claiming/turns.js';
import type { Obstacle } from './lease-wish.js';

/** A run counts as waiting here while this is what was found to keep it from starting. */
const runsWaiting = (
  codes: string,
  scopeId: string,
) => `select 'run' as kind, q.id, 'run:' || q.id as holder, q.due_at as since
  from heartbeat_runs q
  where q.company_id = x.company_id and q.status in ${WAITING} and q.due_at < x.since
    and q.waiting_reason ->> 'code' in ${codes} and q.waiting_reason #>> '{scope,id}' = ${scopeId}::text`;

const reservationsWaiting = (where: string) => `select 'reservation', r.id, r.holder, r.created_at from lease_requests r
  where r.company_id = x.company_id and r.created_at < x.since and ${where}`;

/** Who waits longer for room in the environment. */
const BEFORE_IN_ENVIRONMENT = `${runsWaiting(`('environment_at_capacity', 'reservation_first')`, 'x.environment_id')}
  union all ${reservationsWaiting(`r.environment_id = x.environment_id and ${waitsForRoom('r')}`)}`;

/** Who waits longer for the exclusive workspace. */
const BEFORE_IN_WORKSPACE = `${runsWaiting(`('workspace_occupied')`, 'x.execution_workspace_id')}
  union all ${reservationsWaiting(`r.execution_workspace_id = x.execution_workspace_id and ${isFresh('r')}`)}`;

const OCCUPIED = `exists (select 1 from environment_leases l
  where l.execution_workspace_id = w.id and l.status = 'active' and l.workspace_mode = 'exclusive')`;

/** Room that a warm place takes up can be had: it gives way. One at a time, so not while another is being taken down. */
export const ROOM_OF_WARM = `(select case when bool_or(p.state = 'cleaning' and p.parked_at is null) then 0
  else count(*) filter (where p.state = 'warm') end from environment_places p
  where p.environment_id = e.id and p.state in ('warm', 'cleaning'))`;

/**
 * What keeps the wish from being granted: an `Obstacle`, or null. An environment that takes nothing ever again is none.
 * @param givesWay how many places are in use there that would give way.
 */
export const obstacle = (givesWay: string) => `case
  when e.deleted_at is not null or e.status = 'archived' then null
  when e.status = 'draining' then 'environment_draining'
  when w.mode = 'exclusive' and (${OCCUPIED} or exists (${BEFORE_IN_WORKSPACE})) then 'workspace_occupied'
  when e.capacity <= (select count(*) from environment_leases h where h.environment_id = e.id and h.held_until is null)
    - ${givesWay} + (select count(*) from (${BEFORE_IN_ENVIRONMENT}) before) then 'environment_at_capacity' end`;

/** Everybody who waits longer for what this obstacle is about, the longest first. */
export const BEFORE: Record<Obstacle, string | null> = {
  environment_draining: null,
  workspace_occupied: BEFORE_IN_WORKSPACE,
  environment_at_capacity: BEFORE_IN_ENVIRONMENT,
};
