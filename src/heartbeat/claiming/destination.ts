// Where a run goes, as SQL over its issue i, that one's workspace w, its agent a and its company c.

/** Statuses in which a run waits to be started. */
export const WAITING = `('queued', 'scheduled_retry')`;

/** The first set reference decides where a run goes; null stands for `Local`. */
export const CHOSEN = `coalesce(i.environment_id, w.environment_id, a.default_environment_id, c.default_environment_id)`;

/** Whose reference that is: a `DecidedBy`. */
export const DECIDED_BY = `case when i.environment_id is not null then 'issue'
  when w.environment_id is not null then 'workspace' when a.default_environment_id is not null then 'agent'
  when c.default_environment_id is not null then 'company' else 'default' end`;

/** What each of them said; null where it says nothing. */
export interface References {
  issue: string | null;
  workspace: string | null;
  agent: string | null;
  company: string | null;
}

export const REFERENCES = `jsonb_build_object('issue', i.environment_id, 'workspace', w.environment_id,
  'agent', a.default_environment_id, 'company', c.default_environment_id)`;

/** The same place, with `Local` by its id; null while that has not been made. */
export const DESTINATION = `coalesce(${CHOSEN}, (select local.id from environments local
  where local.company_id = c.id and local.driver = 'local' and local.deleted_at is null))`;

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
