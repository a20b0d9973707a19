// What waits, and in which order, as SQL.

/** Statuses in which a run waits to be started. */
export const WAITING = `('queued', 'scheduled_retry')`;

/**
 * The same as a value, for runs that are looked for by their ids: a plan that is made while nothing waits takes it for
 * cheaper to look through all that waits.
 */
export const WAITING_STATUSES = '{queued,scheduled_retry}';

/** A reservation's caller who has not been heard of for this long does not wait any more, in seconds. */
const REQUEST_FRESH_SEC = 5;

/** Whether the caller of a reservation's request still waits. */
export const isFresh = (request: string) =>
  `${request}.seen_at > clock_timestamp() - interval '${REQUEST_FRESH_SEC} seconds'`;

/** Whether a reservation's request waits for room alone: one whose workspace is in use holds nobody up. */
export const waitsForRoom = (request: string) => `${isFresh(request)} and not exists (select 1 from environment_leases l
  where l.execution_workspace_id = ${request}.execution_workspace_id and l.status = 'active'
    and l.workspace_mode = 'exclusive')`;

/**
 * When the turn of a waiting run q on issue i counts from: work that matters more is taken as if it had waited longer, so
 * that whatever waits gets older than anything that comes later.
 */
export const TURN = `q.due_at - case i.priority when 'critical' then interval '60 minutes'
  when 'high' then interval '30 minutes' when 'low' then interval '-30 minutes' else interval '0' end`;
