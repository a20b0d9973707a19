// Where a run goes, as SQL over its issue i, that one's workspace w, its agent a and its company c: the one rule.

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
