/** A fault in the record or the state, as a bug or a hand in the database might make it. */
export interface Fault {
  readonly what: string;
  /** The check that has to find it. */
  readonly check: string;
  /** Statements that make it, while no foreign key holds; the last answers the `id` that has to be named. */
  readonly plant: readonly string[];
}

const PLACE = '00000000-0000-7000-8000-00000000000a';
const KEEPER = '00000000-0000-7000-8000-00000000000b';

const ENDED_LEASE = `status = 'released' and slot = 1 and held_until > acquired_at`;
const WORKSPACE_LEASE = `status = 'released' and workspace_mode = 'exclusive' and released_at > acquired_at`;
const HELD_LEASE = `status = 'active' and heartbeat_run_id is not null`;

const OF_NOBODY = `'heartbeat_run_id', null, 'run_lease_id', null`;
const LATER = `'acquired_at', now() + interval '1 hour', 'expires_at', now() + interval '2 hours',
  'released_at', now() + interval '2 hours', 'held_until', now() + interval '2 hours'`;

const copy = (table: string, which: string, changes: string) =>
  `select copied('${table}', $which$${which}$which$, jsonb_build_object(${changes})) as id`;
const set = (table: string, which: string, changes: string) =>
  `update ${table} set ${changes} where id = (select id from ${table} where ${which} order by id limit 1) returning id`;
const drop = (table: string, constraint: string) => `alter table ${table} drop constraint ${constraint}`;

/**
 * `copied` inserts a row like another one. With it a sound place is made by hand, that is being taken down, and the lease
 * that keeps it.
 */
export const PREPARATION = `
  create function copied(source regclass, which text, changes jsonb) returns uuid language plpgsql as $$
  declare
    made uuid := coalesce(changes ->> 'id', gen_random_uuid()::text);
    names text := (select string_agg(quote_ident(attname), ', ') from pg_attribute
      where attrelid = source and attnum > 0 and not attisdropped and attgenerated = '' and attidentity = '');
  begin
    execute format('insert into %s (%s) select %s from jsonb_populate_record(
      (select original from %s original where %s order by id limit 1), $1)', source, names, names, source, which)
      using changes || jsonb_build_object('id', made);
    return made;
  end $$;

  begin;
  ${copy(
    'environment_leases',
    ENDED_LEASE,
    `'id', '${KEEPER}', 'place_id', '${PLACE}', 'held_until', null, 'slot', 99, 'heartbeat_run_id', null,
     'run_lease_id', null, 'fencing_token', nextval('fencing_token')`,
  )};
  insert into environment_places (id, company_id, environment_id, lease_id, state, driver, config_fingerprint, facts,
    realise_deadline_at, next_attempt_at)
  select '${PLACE}', company_id, environment_id, id, 'cleaning', 'local', 'f', '{"directory": "/tmp"}', now(), now()
  from environment_leases where id = '${KEEPER}';
  ${copy('activity_log', `action = 'environment.lease_acquired'`, `'entity_id', '${KEEPER}'`)};
  ${copy('activity_log', `action = 'environment.lease_released'`, `'entity_id', '${KEEPER}'`)};
  ${copy(
    'activity_log',
    `action = 'environment.lease_acquired'`,
    `'entity_type', 'environment_place', 'entity_id', '${PLACE}', 'action', 'environment.place_cleaning',
     'details', '{"state": "cleaning"}'::jsonb`,
  )};
  commit;
`;

/** A row of each table that changes behind the record's back. */
const CHANGED: Record<string, [which: string, changes: string]> = {
  companies: [`status = 'active'`, `status = 'archived', archived_at = now()`],
  environments: [`status = 'active'`, `status = 'draining'`],
  execution_workspaces: [`status = 'archived'`, `status = 'active'`],
  agents: [`status = 'idle'`, `status = 'paused', paused_at = now()`],
  secrets: ['deleted_at is null', 'latest_version = latest_version + 1'],
  agent_api_keys: ['revoked_at is null', 'revoked_at = now()'],
  issues: ['deleted_at is null', 'deleted_at = now()'],
  heartbeat_runs: [`status = 'succeeded'`, `status = 'cancelled'`],
  environment_leases: [ENDED_LEASE, `status = 'failed', failure_reason = 'x'`],
  environment_places: ['true', `state = 'gone', gone_at = now(), next_attempt_at = null`],
};

/** @param folded tables with the subjects that events call their rows. */
export const foldFaults = (folded: readonly { table: string; subject: string }[]): Fault[] =>
  folded.flatMap(({ table, subject }) => {
    const [which, changes] = CHANGED[table];
    const first = `select entity_id from activity_log where entity_type = '${subject}' order by seq limit 1`;
    const check = `${table}_as_recorded`;
    return [
      { what: `a row of ${table} that changed without an entry`, check, plant: [set(table, which, changes)] },
      {
        what: `a row of ${table} of which nothing is recorded`,
        check,
        plant: [`delete from activity_log where entity_id = (${first}) returning entity_id as id`],
      },
      {
        what: `entries about a row of ${table} that does not exist`,
        check,
        plant: [
          `update activity_log set entity_id = 'nobody' where entity_type = '${subject}' and entity_id = (${first})
           returning entity_id as id`,
        ],
      },
    ];
  });

export const FAULTS: readonly Fault[] = [
  {
    what: 'a run that the record ends twice',
    check: 'runs_start_and_end_once',
    plant: [
      copy('activity_log', `action = 'heartbeat.succeeded'`, `'created_at', now()`),
      `select entity_id as id from activity_log where action = 'heartbeat.succeeded' order by seq desc limit 1`,
    ],
  },
  {
    what: 'a running run whose lease has ended',
    check: 'running_runs_are_held',
    plant: [
      set('environment_leases', HELD_LEASE, `status = 'released', released_at = now(), held_until = now()`),
      `select id from heartbeat_runs where status = 'running' order by id limit 1`,
    ],
  },
  {
    what: 'a running run with the lease of another',
    check: 'running_runs_are_held',
    plant: [set('heartbeat_runs', `status = 'running'`, `lease_id = '${KEEPER}'`)],
  },
  {
    what: 'an ended run whose lease is active',
    check: 'leases_end_with_their_run',
    plant: [
      set('heartbeat_runs', `status = 'running'`, `status = 'succeeded', finished_at = now()`),
      `select id from environment_leases where ${HELD_LEASE} order by id limit 1`,
    ],
  },
  {
    what: 'an active lease that outlives the one its run is held by',
    check: 'leases_end_with_their_run',
    plant: [set('environment_leases', HELD_LEASE, `run_lease_id = '${KEEPER}'`)],
  },
  {
    what: 'an ended run whose wake goes on',
    check: 'wakes_end_with_their_run',
    plant: [
      `update agent_wakeup_requests set status = 'queued', finished_at = null
       where id = (select wakeup_request_id from heartbeat_runs where status = 'succeeded' order by id limit 1)`,
      `select id from heartbeat_runs where status = 'succeeded' order by id limit 1`,
    ],
  },
  {
    what: 'a running run whose wake is over',
    check: 'wakes_end_with_their_run',
    plant: [
      `update agent_wakeup_requests set status = 'completed', finished_at = now()
       where id = (select wakeup_request_id from heartbeat_runs where status = 'running' order by id limit 1)`,
      `select id from heartbeat_runs where status = 'running' order by id limit 1`,
    ],
  },
  {
    what: 'a lease that the record ends twice',
    check: 'leases_begin_and_end_once',
    plant: [
      copy('activity_log', `action = 'environment.lease_released'`, `'created_at', now()`),
      `select entity_id as id from activity_log where action = 'environment.lease_released' order by seq desc limit 1`,
    ],
  },
  {
    what: 'a lease that the record begins twice',
    check: 'leases_begin_and_end_once',
    plant: [
      copy('activity_log', `action = 'environment.lease_acquired'`, `'created_at', now()`),
      `select entity_id as id from activity_log where action = 'environment.lease_acquired' order by seq desc limit 1`,
    ],
  },
  {
    what: 'two leases of one slot at once',
    check: 'slots_never_shared',
    plant: [
      drop('environment_leases', 'environment_leases_slot_never_shared'),
      copy('environment_leases', ENDED_LEASE, `'fencing_token', nextval('fencing_token'), ${OF_NOBODY}`),
    ],
  },
  {
    what: 'a slot that is given out while a place still holds it',
    check: 'slots_never_shared',
    plant: [
      drop('environment_leases', 'environment_leases_slot_never_shared'),
      copy(
        'environment_leases',
        `id = '${KEEPER}'`,
        `'fencing_token', nextval('fencing_token'), 'place_id', null, ${LATER}`,
      ),
    ],
  },
  {
    what: 'two leases of one exclusive workspace at once',
    check: 'exclusive_workspaces_never_shared',
    plant: [
      drop('environment_leases', 'environment_leases_workspace_never_shared'),
      copy(
        'environment_leases',
        WORKSPACE_LEASE,
        `'fencing_token', nextval('fencing_token'), 'slot', null, ${OF_NOBODY}`,
      ),
    ],
  },
  {
    what: 'a later holder of a slot with a lower token',
    check: 'tokens_rise_in_slots',
    plant: [
      copy('environment_leases', ENDED_LEASE, `'slot', 98, 'fencing_token', 1000, ${OF_NOBODY}`),
      copy('environment_leases', ENDED_LEASE, `'slot', 98, 'fencing_token', 0, ${OF_NOBODY}, ${LATER}`),
    ],
  },
  {
    what: 'a later holder of an exclusive workspace with a lower token',
    check: 'tokens_rise_in_exclusive_workspaces',
    plant: [copy('environment_leases', WORKSPACE_LEASE, `'fencing_token', 0, 'slot', null, ${OF_NOBODY}, ${LATER}`)],
  },
  {
    what: 'tokens that begin again',
    check: 'tokens_were_drawn',
    plant: [set('environment_leases', ENDED_LEASE, 'fencing_token = 1000000')],
  },
  {
    what: 'a place without facts',
    check: 'places_have_their_facts',
    plant: [set('environment_places', 'true', `facts = '{}'`)],
  },
  {
    what: 'a place without a driver',
    check: 'places_have_their_facts',
    plant: [set('environment_places', 'true', `driver = ''`)],
  },
  {
    what: 'a place without its lease',
    check: 'places_have_their_facts',
    plant: [set('environment_places', 'true', 'lease_id = gen_random_uuid()')],
  },
  {
    what: 'a place whose lease has let go of it',
    check: 'places_are_held',
    plant: [set('environment_leases', `id = '${KEEPER}'`, 'held_until = released_at'), `select '${PLACE}' as id`],
  },
  {
    what: 'a place whose lease has another one',
    check: 'places_are_held',
    plant: [set('environment_leases', `id = '${KEEPER}'`, 'place_id = gen_random_uuid()'), `select '${PLACE}' as id`],
  },
  {
    what: 'a slot that is held by nobody',
    check: 'nothing_is_held_by_nobody',
    plant: [
      drop('environment_leases', 'environment_leases_held_by_something'),
      drop('environment_leases', 'environment_leases_slot_never_shared'),
      set('environment_leases', ENDED_LEASE, 'held_until = null'),
    ],
  },
  {
    what: 'a slot that is held by a place that has gone',
    check: 'nothing_is_held_by_nobody',
    plant: [
      set('environment_places', 'true', `state = 'gone', gone_at = now(), next_attempt_at = null`),
      `select '${KEEPER}' as id`,
    ],
  },
  {
    what: 'an active lease that has let go of its slot',
    check: 'leases_let_go_in_order',
    plant: [
      drop('environment_leases', 'environment_leases_held_while_active'),
      set('environment_leases', HELD_LEASE, 'held_until = now()'),
    ],
  },
];
