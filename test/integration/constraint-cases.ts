/**
 * A company's whole record in a few rows, and another company beside it. Ids are made of names: `id('agent')`.
 * What is theirs is the other company's.
 */
export const RECORD = `
  create function id(name text) returns uuid language sql immutable as $$ select md5(name)::uuid $$;

  insert into companies (id, name, issue_prefix) values (id('company'), 'Ours', 'OUR'), (id('their company'), 'Theirs', 'THE');
  insert into environments (id, company_id, name, driver) values
    (id('local'), id('company'), 'Local', 'local'), (id('remote'), id('company'), 'Remote', 'test'),
    (id('their environment'), id('their company'), 'Local', 'local');
  insert into execution_workspaces (id, company_id, environment_id, name, mode, cwd) values
    (id('workspace'), id('company'), id('local'), 'Checkout', 'exclusive', '/srv'),
    (id('their workspace'), id('their company'), id('their environment'), 'Checkout', 'exclusive', '/srv');
  insert into agents (id, company_id, name, adapter_type) values
    (id('agent'), id('company'), 'deckhand', 'process'), (id('their agent'), id('their company'), 'deckhand', 'process');
  insert into agent_api_keys (id, company_id, agent_id, name, token_hash)
    values (id('key'), id('company'), id('agent'), 'k', '\\x00');
  insert into operator_keys (id, name, token_hash, given, created_by)
    values (id('operator key'), 'k', '\\x00', false, 'u'), (id('given key'), 'k', '\\x00', true, 'u');
  insert into issues (id, company_id, number, identifier, title) values
    (id('issue'), id('company'), 1, 'OUR-1', 'Fix the anchor'), (id('idle issue'), id('company'), 2, 'OUR-2', 'Paint'),
    (id('their issue'), id('their company'), 1, 'THE-1', 'Fix the anchor');

  insert into agent_wakeup_requests (id, company_id, agent_id, source, status, status_reason, finished_at,
      requested_by_actor_type, requested_by_actor_id)
    values (id('wake'), id('company'), id('agent'), 'timer', 'cancelled', 'r', now(), 'user', 'u'),
      (id('their wake'), id('their company'), id('their agent'), 'timer', 'cancelled', 'r', now(), 'user', 'u');
  insert into agent_wakeup_requests (id, company_id, agent_id, issue_id, source, status, requested_by_actor_type,
      requested_by_actor_id)
    values (id('deferred'), id('company'), id('agent'), id('issue'), 'timer', 'deferred_issue_execution', 'user', 'u');
  insert into agent_wakeup_requests (id, company_id, agent_id, run_id, source, status, finished_at, requested_by_actor_type,
      requested_by_actor_id)
    values (id('joined'), id('company'), id('agent'), id('queued'), 'timer', 'coalesced', now(), 'user', 'u');
  insert into heartbeat_runs (id, company_id, agent_id, issue_id, invocation_source, status) values
    (id('queued'), id('company'), id('agent'), id('issue'), 'timer', 'queued'),
    (id('their run'), id('their company'), id('their agent'), null, 'timer', 'queued');
  insert into heartbeat_runs (id, company_id, agent_id, invocation_source, status, lease_id, runner_id, started_at)
    values (id('running'), id('company'), id('agent'), 'timer', 'running', id('active'), 'r', now());
  insert into heartbeat_runs (id, company_id, agent_id, invocation_source, status, lease_id, runner_id, started_at,
      finished_at)
    values (id('ended'), id('company'), id('agent'), 'timer', 'succeeded', id('released'), 'r', now(), now());
  insert into heartbeat_runs (id, company_id, agent_id, invocation_source, status, retry_of_run_id)
    values (id('retry'), id('company'), id('agent'), 'timer', 'queued', id('ended'));
  insert into environment_leases (id, company_id, environment_id, heartbeat_run_id, run_lease_id, slot, holder, status,
      provider, acquired_at, last_used_at, expires_at, lifetime_ends_at, released_at, held_until)
    values (id('active'), id('company'), id('local'), id('running'), id('active'), 1, 'run', 'active', 'local', now(), now(),
        now() + interval '1 hour', now() + interval '1 day', null, null),
      (id('released'), id('company'), id('local'), id('ended'), id('released'), 2, 'run', 'released', 'local',
        now() - interval '2 hours', now(), now() + interval '1 hour', now() + interval '1 day', now() - interval '1 hour',
        now() - interval '1 hour');
  insert into environment_leases (id, company_id, environment_id, execution_workspace_id, workspace_mode, holder, status,
      provider, acquired_at, last_used_at, expires_at, lifetime_ends_at)
    values (id('reservation'), id('company'), id('local'), id('workspace'), 'exclusive', 'me', 'active', 'local', now(),
      now(), now() + interval '1 hour', now() + interval '1 day');
  begin;
  insert into environment_leases (id, company_id, environment_id, place_id, holder, status, provider, acquired_at,
      last_used_at, expires_at, lifetime_ends_at, released_at)
    values (id('lingering'), id('company'), id('local'), id('cleaning'), 'me', 'released', 'local', now(), now(),
        now() + interval '1 hour', now() + interval '1 day', now()),
      (id('keeping'), id('company'), id('local'), id('warm'), 'me', 'released', 'local', now(), now(),
        now() + interval '1 hour', now() + interval '1 day', now());
  insert into environment_leases (id, company_id, environment_id, holder, status, provider, acquired_at, last_used_at,
      expires_at, lifetime_ends_at)
    values (id('their lease'), id('their company'), id('their environment'), 'they', 'active', 'local', now(), now(),
      now() + interval '1 hour', now() + interval '1 day');
  insert into environment_places (id, company_id, environment_id, lease_id, state, driver, config_fingerprint, facts,
      realise_deadline_at, keep_until, next_attempt_at, gone_at)
    values (id('cleaning'), id('company'), id('local'), id('lingering'), 'cleaning', 'local', 'f', '{"directory": "/d"}',
        now(), null, now(), null),
      (id('warm'), id('company'), id('local'), id('keeping'), 'warm', 'local', 'f', '{"directory": "/w"}', now(), now(),
        null, null),
      (id('gone'), id('company'), id('local'), id('released'), 'gone', 'local', 'f', '{"directory": "/g"}', now(), null,
        null, now()),
      (id('their place'), id('their company'), id('their environment'), id('their lease'), 'gone', 'local', 'f',
        '{"directory": "/t"}', now(), null, null, now());
  commit;
  insert into lease_requests (id, company_id, environment_id, holder, give_up_at)
    values (id('request'), id('company'), id('local'), 'me', now());
  insert into runners (id, host, host_name, pid, slots, version) values (id('runner'), 'h', 'h', 1, 1, '1');
  insert into secrets_key (key_id) values ('k');
  insert into secrets (id, company_id, name) values (id('secret'), id('company'), 'Token'),
    (id('other secret'), id('company'), 'Password'), (id('their secret'), id('their company'), 'Token');
  insert into secret_versions (company_id, secret_id, version, key_id, nonce, ciphertext)
    values (id('company'), id('secret'), 1, 'k', decode(repeat('00', 12), 'hex'), decode(repeat('00', 20), 'hex')),
      (id('company'), id('other secret'), 1, 'k', decode(repeat('01', 12), 'hex'), decode(repeat('00', 20), 'hex'));
  insert into secret_references (company_id, secret_id, agent_id, path)
    values (id('company'), id('secret'), id('agent'), 'adapterConfig.env.TOKEN');
  insert into issue_comments (id, company_id, issue_id, author_type, body)
    values (id('comment'), id('company'), id('issue'), 'user', 'Aye');
  insert into heartbeat_run_log_chunks (run_id, stream_offset, stream, written_at, content)
    values (id('running'), 0, 'stdout', now(), 'a');
  insert into activity_rows (id, company_id, actor_type, actor_id, action, entity_type, entity_id)
    values (id('entry'), id('company'), 'user', 'u', 'a', 'e', 'x');
  insert into retention_horizons (company_id, kind) values (id('company'), 'runs');
  insert into retention_passes (kind, started_at, finished_at) values ('runs', now(), now());
  insert into activity_folds (company_id, entity_type, entity_id, state, seq, at, begins, ends)
    values (id('company'), 'agent', 'x', 'paused', 1, now(), 0, 0);
  insert into activity_rows (id, company_id, actor_type, actor_id, action, run_id, lease_id, environment_id, driver,
      lease_policy, host)
    values (id('start'), id('company'), 'user', 'u', 'heartbeat.started', id('running'), id('active'), id('local'), 'local',
      'ephemeral', 'h');
  insert into idempotency_keys (id, company_id, actor, route, key, body_hash, status_code, answer)
    values (id('idempotency'), null, 'user:u', 'POST /api/companies', 'k', '\\x00', 201, '{}');
`;

/** What must not be, the constraint that refuses it, and the statement that tries. */
export type ConstraintCase = [what: string, constraint: string, statement: string];

const set = (table: string, row: string, changes: string) => `update ${table} set ${changes} where id = id('${row}')`;

const versionOf = (secret: string, changes: string) =>
  `update secret_versions set ${changes} where secret_id = id('${secret}')`;

export const copyLease = (columns: string, values: string) =>
  `insert into environment_leases (id, company_id, environment_id, holder, status, provider, acquired_at, last_used_at,
     expires_at, lifetime_ends_at, ${columns})
   values (id('new'), id('company'), id('local'), 'h', 'active', 'local', now(), now(), now() + interval '1 hour',
     now() + interval '1 day', ${values})`;

const queue = (columns: string, values: string) =>
  `insert into heartbeat_runs (id, company_id, agent_id, invocation_source, status, ${columns})
   values (id('new'), id('company'), id('agent'), 'timer', 'queued', ${values})`;

/** What system.md says must be impossible, as far as one constraint can hold it. */
export const INVARIANTS: ConstraintCase[] = [
  ['a second live run on an issue', 'heartbeat_runs_one_live_per_issue', queue('issue_id', `id('issue')`)],
  ['a second successor of a run', 'heartbeat_runs_one_successor', queue('retry_of_run_id', `id('ended')`)],
  [
    'a running run whose lease has ended',
    'heartbeat_runs_running_has_active_lease',
    set('environment_leases', 'active', `status = 'released', released_at = now(), held_until = now()`),
  ],
  [
    'a running run without a lease',
    'heartbeat_runs_running_has_active_lease',
    set('heartbeat_runs', 'queued', `status = 'running', lease_id = id('none'), runner_id = 'r', started_at = now()`),
  ],
  [
    'a running run with the lease of another',
    'heartbeat_runs_running_has_active_lease',
    set('heartbeat_runs', 'queued', `status = 'running', lease_id = id('active'), runner_id = 'r', started_at = now()`),
  ],
  [
    'an ended run with an active lease',
    'environment_leases_active_has_running_run',
    set('heartbeat_runs', 'running', `status = 'succeeded', finished_at = now()`),
  ],
  [
    'an active lease of a run that is not running',
    'environment_leases_active_has_running_run',
    copyLease('heartbeat_run_id, run_lease_id', `id('queued'), id('new')`),
  ],
  [
    'an active lease of a running run that is not held with the one the run has',
    'environment_leases_active_has_running_run',
    copyLease('heartbeat_run_id, run_lease_id', `id('running'), id('new')`),
  ],
  [
    'an ended run with a further lease that is active',
    'environment_leases_active_has_running_run',
    `with further as (${copyLease('heartbeat_run_id, run_lease_id', `id('running'), id('active')`)}),
       ended as (update environment_leases set status = 'released', released_at = now(), held_until = now()
         where id = id('active'))
     update heartbeat_runs set status = 'succeeded', finished_at = now() where id = id('running')`,
  ],
  [
    'a second local environment',
    'environments_one_local',
    `insert into environments (id, company_id, name, driver, status) values (id('new'), id('company'), 'L2', 'local', 'archived')`,
  ],
  ['two holders of a slot', 'environment_leases_slot_never_shared', copyLease('slot', '1')],
  [
    'two holders of a slot in history',
    'environment_leases_slot_never_shared',
    set(
      'environment_leases',
      'released',
      `slot = 1, released_at = now() + interval '1 minute',
       held_until = now() + interval '1 minute'`,
    ),
  ],
  [
    'two holders of an exclusive workspace in history',
    'environment_leases_workspace_never_shared',
    set(
      'environment_leases',
      'released',
      `execution_workspace_id = id('workspace'), workspace_mode = 'exclusive',
       released_at = now() + interval '1 minute', held_until = now() + interval '1 minute'`,
    ),
  ],
  [
    'a place that has not gone and that nobody holds',
    'environment_places_not_gone_is_held',
    set('environment_leases', 'lingering', 'held_until = now(), place_id = null'),
  ],
  [
    'a place that is handed to a lease that holds nothing any more',
    'environment_places_not_gone_is_held',
    `with left_behind as (update environment_leases set held_until = now() where id = id('keeping'))
     update environment_places set lease_id = id('released'), state = 'in_use', keep_until = null where id = id('warm')`,
  ],
  [
    'an ended lease that holds on to a place that has gone',
    'environment_leases_lingering_has_place',
    set('environment_places', 'cleaning', `state = 'gone', gone_at = now(), next_attempt_at = null`),
  ],
  [
    'an ended lease that holds on to a place that went to another',
    'environment_leases_lingering_has_place',
    set('environment_places', 'warm', `lease_id = id('reservation'), state = 'in_use', keep_until = null`),
  ],
  [
    'a lease that calls an exclusive workspace shared',
    'environment_leases_workspace_fk',
    copyLease('execution_workspace_id, workspace_mode', `id('workspace'), 'shared'`),
  ],
  [
    'an exclusive workspace that becomes shared while it is leased',
    'environment_leases_workspace_fk',
    set('execution_workspaces', 'workspace', `mode = 'shared'`),
  ],
  [
    'an idempotency key used twice, without a company too',
    'idempotency_keys_unique',
    `insert into idempotency_keys select (jsonb_populate_record(k, jsonb_build_object('id', id('new')))).*
     from idempotency_keys k`,
  ],
  [
    'two wakes of one agent waiting for one issue',
    'agent_wakeup_requests_one_deferred',
    `insert into agent_wakeup_requests (id, company_id, agent_id, issue_id, source, status, requested_by_actor_type,
       requested_by_actor_id)
     select id('new'), company_id, agent_id, issue_id, source, status, 'user', 'u'
     from agent_wakeup_requests where id = id('deferred')`,
  ],
  [
    'two rows of one agent skipped for one reason',
    'agent_wakeup_requests_one_skipped',
    `insert into agent_wakeup_requests (id, company_id, agent_id, source, status, status_reason, finished_at,
       requested_by_actor_type, requested_by_actor_id)
     select new, company_id, agent_id, source, 'skipped', 'timer_disabled', now(), 'user', 'u'
     from agent_wakeup_requests, (values (id('new')), (id('newer'))) as ids (new) where id = id('wake')`,
  ],
  [
    'a second first key that was given',
    'operator_keys_one_given',
    set('operator_keys', 'operator key', 'given = true'),
  ],
];

/** States that say when and why. */
export const STATES: ConstraintCase[] = [
  [
    'a running run that did not start',
    'heartbeat_runs_running_holds',
    set('heartbeat_runs', 'running', 'started_at = null'),
  ],
  [
    'a running run without a runner',
    'heartbeat_runs_running_holds',
    set('heartbeat_runs', 'running', 'runner_id = null'),
  ],
  [
    'an ended run without its end',
    'heartbeat_runs_ended_has_time',
    set('heartbeat_runs', 'ended', 'finished_at = null'),
  ],
  ['a queued run with an end', 'heartbeat_runs_ended_has_time', set('heartbeat_runs', 'queued', 'finished_at = now()')],
  [
    'a failed run without an error',
    'heartbeat_runs_failed_has_reason',
    set('heartbeat_runs', 'ended', `status = 'failed', error_code = 'x'`),
  ],
  [
    'a timed out run without an error code',
    'heartbeat_runs_failed_has_reason',
    set('heartbeat_runs', 'ended', `status = 'timed_out', error = 'x'`),
  ],
  [
    'a scheduled retry without its time',
    'heartbeat_runs_retry_has_time',
    set('heartbeat_runs', 'retry', `status = 'scheduled_retry'`),
  ],
  [
    'an ended lease without its end',
    'environment_leases_ended_has_time',
    set('environment_leases', 'released', 'released_at = null'),
  ],
  [
    'an active lease with an end',
    'environment_leases_ended_has_time',
    set('environment_leases', 'active', 'released_at = clock_timestamp()'),
  ],
  [
    'an active lease that has given its slot up',
    'environment_leases_held_while_active',
    set('environment_leases', 'active', 'held_until = now()'),
  ],
  [
    'an ended lease that holds on without a place',
    'environment_leases_held_by_something',
    set('environment_leases', 'released', 'held_until = null'),
  ],
  [
    'a lease that gives its slot up before its end',
    'environment_leases_held_past_release',
    set('environment_leases', 'released', `held_until = released_at - interval '1 second'`),
  ],
  [
    'a lease that lasts beyond its lifetime',
    'environment_leases_lifetime',
    set('environment_leases', 'active', `expires_at = lifetime_ends_at + interval '1 second'`),
  ],
  [
    "a run's lease that does not say by which lease its run is held",
    'environment_leases_of_run_has_run_lease',
    set('environment_leases', 'released', 'run_lease_id = null'),
  ],
  [
    'a reservation that belongs to the lease of a run',
    'environment_leases_of_run_has_run_lease',
    set('environment_leases', 'reservation', `run_lease_id = id('active')`),
  ],
  [
    'a revocation without a reason',
    'environment_leases_revocation_explained',
    set('environment_leases', 'reservation', 'revoke_at = now()'),
  ],
  [
    'a reason for a revocation that nobody asked for',
    'environment_leases_revocation_explained',
    set('environment_leases', 'reservation', `revoke_reason = 'Why not'`),
  ],
  [
    'a cancel wish that never takes effect',
    'heartbeat_runs_cancel_complete',
    set('heartbeat_runs', 'running', 'cancel_requested_at = now()'),
  ],
  [
    'a cancel wish without a code',
    'heartbeat_runs_cancel_complete',
    set('heartbeat_runs', 'running', 'cancel_requested_at = now(), cancel_at = now()'),
  ],
  [
    'a pass that ended before it began',
    'retention_passes_in_order',
    `update retention_passes set finished_at = started_at - interval '1 second'`,
  ],
  [
    'a place that has gone at no time',
    'environment_places_gone_has_time',
    set('environment_places', 'gone', 'gone_at = null'),
  ],
  [
    'a place that is there and has a time of going',
    'environment_places_gone_has_time',
    set('environment_places', 'warm', 'gone_at = now()'),
  ],
  [
    'a place that is kept for ever',
    'environment_places_kept_has_time',
    set('environment_places', 'warm', 'keep_until = null'),
  ],
  [
    'a place that is cleaned at no time',
    'environment_places_cleaning_has_time',
    set('environment_places', 'cleaning', 'next_attempt_at = null'),
  ],
  [
    'a place that is parked and not to be cleaned',
    'environment_places_parked_is_cleaning',
    set('environment_places', 'warm', 'parked_at = now()'),
  ],
  ['a quarantine without a reason', 'instance_quarantine_explained', 'update instance set quarantined_at = now()'],
  [
    'a failed lease without a reason',
    'environment_leases_failure_explained',
    set('environment_leases', 'released', `status = 'failed'`),
  ],
  [
    'an expired lease without a reason',
    'environment_leases_failure_explained',
    set('environment_leases', 'released', `status = 'expired'`),
  ],
  [
    'a lease that expires before it begins',
    'environment_leases_interval',
    set('environment_leases', 'active', 'expires_at = acquired_at'),
  ],
  [
    'a leased workspace without its mode',
    'environment_leases_workspace_has_mode',
    set('environment_leases', 'reservation', 'workspace_mode = null'),
  ],
  ['a paused agent without a time', 'agents_paused_has_time', set('agents', 'agent', `status = 'paused'`)],
  ['an idle agent with a time of pause', 'agents_paused_has_time', set('agents', 'agent', 'paused_at = now()')],
  ['a deleted agent that can be woken', 'agents_deleted_is_terminated', set('agents', 'agent', 'deleted_at = now()')],
  [
    'an operator key that was revoked by nobody',
    'operator_keys_revoked_by_somebody',
    set('operator_keys', 'operator key', 'revoked_at = now()'),
  ],
  [
    'an archived company without a time',
    'companies_archived_has_time',
    set('companies', 'company', `status = 'archived'`),
  ],
  [
    'an ended wake without its end',
    'agent_wakeup_requests_ended_has_time',
    set('agent_wakeup_requests', 'wake', 'finished_at = null'),
  ],
  [
    'a waiting wake with an end',
    'agent_wakeup_requests_ended_has_time',
    set('agent_wakeup_requests', 'deferred', 'finished_at = now()'),
  ],
  [
    'a wake that joined no run in particular',
    'agent_wakeup_requests_joined_has_run',
    set('agent_wakeup_requests', 'joined', 'run_id = null'),
  ],
  [
    'a wake that came to nothing and to a run',
    'agent_wakeup_requests_joined_has_run',
    set('agent_wakeup_requests', 'wake', `run_id = id('queued')`),
  ],
  [
    'a skipped wake without a reason',
    'agent_wakeup_requests_skip_explained',
    set('agent_wakeup_requests', 'wake', `status = 'skipped', status_reason = null`),
  ],
  [
    'an entry about nothing',
    'activity_rows_about_something',
    set('activity_rows', 'entry', 'entity_type = null, entity_id = null'),
  ],
  [
    'an entry about something of no kind',
    'activity_rows_about_something',
    set('activity_rows', 'entry', 'entity_type = null'),
  ],
  ...(
    [
      ['a start that does not say where', 'environment_id = null'],
      ['a start that does not say by which driver', 'driver = null'],
      ['a start that does not say under which policy', 'lease_policy = null'],
      ['a start that does not say on which host', 'host = null'],
      ['a start and a lease of no run', `run_id = null, entity_type = 'e', entity_id = 'x'`],
      ['a start and a lease that are about something else', `entity_type = 'e', entity_id = 'x'`],
      ['a start and a lease that say more', `details = '{}'`],
      ['a failure that says that its lease was released', `action = 'heartbeat.failed', host = null`],
      ['a success that says where it started', `action = 'heartbeat.succeeded'`],
    ] as const
  ).map(([what, changes]): ConstraintCase => [
    what,
    'activity_rows_of_two_complete',
    set('activity_rows', 'start', changes),
  ]),
  [
    'a comment of no agent in particular',
    'issue_comments_agent_named',
    set('issue_comments', 'comment', `author_type = 'agent'`),
  ],
];

/** Words, names and sizes. */
export const VALUES: ConstraintCase[] = [
  [
    'an operator key for no company at all',
    'operator_keys_names_companies',
    set('operator_keys', 'operator key', `company_ids = '{}'`),
  ],
  ...(
    [
      ['companies', 'company', 'status'],
      ['environments', 'local', 'status'],
      ['agents', 'agent', 'status'],
      ['execution_workspaces', 'workspace', 'status'],
      ['issues', 'issue', 'status'],
      ['issues', 'issue', 'priority'],
      ['agent_wakeup_requests', 'wake', 'source'],
      ['agent_wakeup_requests', 'wake', 'trigger_detail'],
      ['agent_wakeup_requests', 'wake', 'status'],
      ['agent_wakeup_requests', 'wake', 'requested_by_actor_type'],
      ['heartbeat_runs', 'queued', 'invocation_source'],
      ['heartbeat_runs', 'queued', 'trigger_detail'],
      ['heartbeat_runs', 'queued', 'status'],
      ['heartbeat_runs', 'queued', 'issue_comment_status'],
      ['environment_leases', 'released', 'status'],
      ['environment_leases', 'released', 'lease_policy'],
      ['environments', 'local', 'lease_policy'],
      ['issue_comments', 'comment', 'author_type'],
      ['activity_rows', 'entry', 'actor_type'],
    ] as const
  ).map(([table, row, column]): ConstraintCase => [
    `a ${column} of ${table} that nobody knows`,
    `${table}_${column}_check`,
    set(table, row, `${column} = 'nonsense'`),
  ]),
  [
    'a state of places that nobody knows',
    'environment_places_state_check',
    set('environment_places', 'warm', `state = 'nonsense', keep_until = null`),
  ],
  [
    'a mode of workspaces that nobody knows',
    'execution_workspaces_mode_check',
    set('execution_workspaces', 'their workspace', `mode = 'nonsense'`),
  ],
  [
    'output of a stream that nobody knows',
    'heartbeat_run_log_chunks_stream_check',
    `update heartbeat_run_log_chunks set stream = 'nonsense'`,
  ],
  [
    'output before the first byte',
    'heartbeat_run_log_chunks_stream_offset_check',
    'update heartbeat_run_log_chunks set stream_offset = -1',
  ],
  ...(
    [
      ['companies', 'company'],
      ['environments', 'local'],
      ['agents', 'agent'],
      ['secrets', 'secret'],
      ['agent_api_keys', 'key'],
      ['operator_keys', 'operator key'],
      ['execution_workspaces', 'workspace'],
    ] as const
  ).map(([table, row]): ConstraintCase => [
    `an empty name in ${table}`,
    `${table}_name_check`,
    set(table, row, `name = ''`),
  ]),
  ['an empty title', 'issues_title_check', set('issues', 'issue', `title = ''`)],
  ['an empty comment', 'issue_comments_body_check', set('issue_comments', 'comment', `body = ''`)],
  ['an empty key', 'idempotency_keys_key_check', `update idempotency_keys set key = ''`],
  ['a prefix that is no word', 'companies_issue_prefix_check', set('companies', 'company', `issue_prefix = 'o-'`)],
  ['an issue number of 0', 'issues_number_check', set('issues', 'issue', 'number = 0')],
  ['a company cap of 0', 'companies_max_concurrent_runs_check', set('companies', 'company', 'max_concurrent_runs = 0')],
  ['a wait of 0 seconds', 'companies_max_wait_sec_check', set('companies', 'company', 'max_wait_sec = 0')],
  ['a limit of 0 agents', 'companies_max_agents_check', set('companies', 'company', 'max_agents = 0')],
  [
    'a limit of 0 environments',
    'companies_max_environments_check',
    set('companies', 'company', 'max_environments = 0'),
  ],
  ['a limit of 0 queued runs', 'companies_max_queued_runs_check', set('companies', 'company', 'max_queued_runs = 0')],
  ['a capacity of 0', 'environments_capacity_check', set('environments', 'remote', 'capacity = 0')],
  ['places warm for 0 seconds', 'environments_warm_sec_check', set('environments', 'local', 'warm_sec = 0')],
  ['places retained for 0 seconds', 'environments_retain_sec_check', set('environments', 'local', 'retain_sec = 0')],
  ['a lease of 0 seconds', 'environment_leases_ttl_sec_check', set('environment_leases', 'active', 'ttl_sec = 0')],
  ['a slot 0', 'environment_leases_slot_check', set('environment_leases', 'active', 'slot = 0')],
  [
    'a retention of something that nobody knows',
    'companies_retention_in_days',
    set('companies', 'company', `retention = '{"issueDays": 1}'`),
  ],
  ...['-1', '36501', '1.5', '"7"', 'null'].map((days): ConstraintCase => [
    `a retention of ${days} days`,
    'companies_retention_in_days',
    set('companies', 'company', `retention = '{"runDays": ${days}}'`),
  ]),
  [
    'a horizon of something that nobody knows',
    'retention_horizons_kind_check',
    `update retention_horizons set kind = 'nonsense'`,
  ],
  [
    'a pass over something that nobody knows',
    'retention_passes_kind_check',
    `update retention_passes set kind = 'nonsense'`,
  ],
  ['a runner without slots', 'runners_slots_check', set('runners', 'runner', 'slots = 0')],
  [
    'an agent cap of 0',
    'agents_max_concurrent_runs_check',
    set('agents', 'agent', `runtime_config = '{"heartbeat": {"maxConcurrentRuns": 0}}'`),
  ],
  [
    'an idle time-out of 0 seconds',
    'heartbeat_runs_idle_timeout_sec_check',
    set('heartbeat_runs', 'queued', 'idle_timeout_sec = 0'),
  ],
  ['a second row about the key of secrets', 'secrets_key_id_check', `insert into secrets_key values (false, 'l')`],
  ['a secret without a version', 'secrets_latest_version_check', set('secrets', 'secret', 'latest_version = 0')],
  ['a version 0', 'secret_versions_version_check', versionOf('secret', 'version = 0')],
  ['a nonce of another length', 'secret_versions_nonce_check', versionOf('secret', `nonce = '\\x00'`)],
  ['a ciphertext of nothing', 'secret_versions_ciphertext_check', versionOf('secret', `ciphertext = '\\x00'`)],
  [
    'two values under one key and nonce',
    'secret_versions_nonce_once',
    versionOf('secret', `nonce = decode(repeat('01', 12), 'hex')`),
  ],
  ['two secrets with one name', 'secrets_name_unique', set('secrets', 'other secret', `name = 'Token'`)],
  ['a reference of nobody', 'secret_references_one_holder', `update secret_references set agent_id = null`],
  [
    'two references at one place',
    'secret_references_once',
    `insert into secret_references (company_id, secret_id, agent_id, path)
     values (id('company'), id('other secret'), id('agent'), 'adapterConfig.env.TOKEN')`,
  ],
  ['a second row about the instance', 'instance_id_check', 'insert into instance (id) values (false)'],
  [
    'two companies with one prefix',
    'companies_issue_prefix_unique',
    set('companies', 'company', `issue_prefix = 'THE'`),
  ],
  ['two environments with one name', 'environments_name_unique', set('environments', 'remote', `name = 'Local'`)],
  [
    'two workspaces with one name',
    'execution_workspaces_name_unique',
    `insert into execution_workspaces (id, company_id, environment_id, name, mode, cwd)
     values (id('new'), id('company'), id('remote'), 'Checkout', 'shared', '/')`,
  ],
  ['two issues with one number', 'issues_number_unique', set('issues', 'idle issue', 'number = 1')],
  ['two issues with one identifier', 'issues_identifier_unique', set('issues', 'idle issue', `identifier = 'THE-1'`)],
];

/** References into another company. */
export const TENANTS: ConstraintCase[] = (
  [
    ['companies', 'company', 'default_environment_id', 'their environment', 'companies_default_environment_fk'],
    ['agents', 'agent', 'default_environment_id', 'their environment', 'agents_default_environment_fk'],
    ['agent_api_keys', 'key', 'agent_id', 'their agent', 'agent_api_keys_agent_fk'],
    ['issues', 'issue', 'assignee_agent_id', 'their agent', 'issues_assignee_fk'],
    ['issues', 'issue', 'environment_id', 'their environment', 'issues_environment_fk'],
    ['issues', 'issue', 'execution_workspace_id', 'their workspace', 'issues_workspace_fk'],
    ['agent_wakeup_requests', 'wake', 'agent_id', 'their agent', 'agent_wakeup_requests_agent_fk'],
    ['agent_wakeup_requests', 'wake', 'issue_id', 'their issue', 'agent_wakeup_requests_issue_fk'],
    ['agent_wakeup_requests', 'joined', 'run_id', 'their run', 'agent_wakeup_requests_run_fk'],
    ['heartbeat_runs', 'queued', 'agent_id', 'their agent', 'heartbeat_runs_agent_fk'],
    ['heartbeat_runs', 'queued', 'issue_id', 'their issue', 'heartbeat_runs_issue_fk'],
    ['heartbeat_runs', 'queued', 'retry_of_run_id', 'their run', 'heartbeat_runs_retry_of_fk'],
    ['environment_leases', 'released', 'environment_id', 'their environment', 'environment_leases_environment_fk'],
    ['environment_leases', 'released', 'issue_id', 'their issue', 'environment_leases_issue_fk'],
    ['environment_leases', 'released', 'heartbeat_run_id', 'their run', 'environment_leases_run_in_company'],
    [
      'environment_leases',
      'reservation',
      'execution_workspace_id',
      'their workspace',
      'environment_leases_workspace_fk',
    ],
    ['environment_leases', 'released', 'place_id', 'their place', 'environment_leases_place_fk'],
    ['environment_places', 'gone', 'environment_id', 'their environment', 'environment_places_environment_fk'],
    ['environment_places', 'gone', 'execution_workspace_id', 'their workspace', 'environment_places_workspace_fk'],
    ['environment_places', 'gone', 'lease_id', 'their lease', 'environment_places_lease_fk'],
    ['lease_requests', 'request', 'environment_id', 'their environment', 'lease_requests_environment_fk'],
    ['lease_requests', 'request', 'execution_workspace_id', 'their workspace', 'lease_requests_workspace_fk'],
    ['issue_comments', 'comment', 'issue_id', 'their issue', 'issue_comments_issue_fk'],
    ['issue_comments', 'comment', 'created_by_run_id', 'their run', 'issue_comments_run_fk'],
  ] as const
).map(([table, row, column, theirs, constraint]): ConstraintCase => [
  `${column} of ${table} that is another company's`,
  constraint,
  set(table, row, `${column} = id('${theirs}')`),
]);
TENANTS.push(
  [
    "a workspace in another company's environment",
    'execution_workspaces_environment_fk',
    `insert into execution_workspaces (id, company_id, environment_id, name, mode, cwd)
     values (id('new'), id('company'), id('their environment'), 'New', 'shared', '/')`,
  ],
  [
    "a comment by another company's agent",
    'issue_comments_author_fk',
    set('issue_comments', 'comment', `author_type = 'agent', author_agent_id = id('their agent')`),
  ],
  ...(
    [
      ['environments', `(id, company_id, name, driver) values (id('new'), id('nobody'), 'n', 'test')`],
      ['secrets', `(id, company_id, name) values (id('new'), id('nobody'), 'n')`],
      ['agents', `(id, company_id, name, adapter_type) values (id('new'), id('nobody'), 'n', 'process')`],
      ['issues', `(id, company_id, number, identifier, title) values (id('new'), id('nobody'), 9, 'NO-9', 'n')`],
      ['retention_horizons', `(company_id, kind) values (id('nobody'), 'runs')`],
      [
        'activity_folds',
        `(company_id, entity_type, entity_id, state, seq, at, begins, ends)
        values (id('nobody'), 'agent', 'x', 'paused', 1, now(), 0, 0)`,
      ],
    ] as const
  ).map(([table, values]): ConstraintCase => [
    `a row of ${table} in no company`,
    `${table}_company_id_fkey`,
    `insert into ${table} ${values}`,
  ]),
  [
    "a value of another company's secret",
    'secret_versions_secret_fk',
    versionOf('secret', `company_id = id('their company')`),
  ],
  ...(
    [
      ['secret', 'secret_id', 'their secret'],
      ['agent', 'agent_id', 'their agent'],
    ] as const
  ).map(([what, column, theirs]): ConstraintCase => [
    `a reference of, or to, another company's ${what}`,
    `secret_references_${what}_fk`,
    `update secret_references set ${column} = id('${theirs}')`,
  ]),
  [
    "a reference of another company's environment",
    'secret_references_environment_fk',
    `update secret_references set agent_id = null, environment_id = id('their environment')`,
  ],
  [
    'a row of activity_rows in no company',
    'activity_rows_in_company',
    `insert into activity_rows (company_id, actor_type, actor_id, action, entity_type, entity_id)
     values (id('nobody'), 'user', 'u', 'a', 'e', 'x')`,
  ],
  [
    'a row of activity_rows about a run in no company',
    'activity_rows_of_run_in_company',
    `insert into activity_rows (company_id, actor_type, actor_id, action, run_id)
     values (id('nobody'), 'user', 'u', 'a', id('running'))`,
  ],
  [
    'output of no run',
    'heartbeat_run_log_chunks_run_id_fkey',
    `update heartbeat_run_log_chunks set run_id = id('none')`,
  ],
);

/** Constraints that no statement can violate alone, and why they are there. */
export const WITHOUT_CASE: Record<string, string> = {
  execution_workspaces_company_id_fkey: 'implied by execution_workspaces_environment_fk',
  secrets_company_unique: 'implied by the primary key; target of the keys that carry the company',
  environments_company_unique: 'implied by the primary key; target of the keys that carry the company',
  agents_company_unique: 'the same',
  execution_workspaces_company_unique: 'the same',
  issues_company_unique: 'the same',
  heartbeat_runs_company_unique: 'the same',
  execution_workspaces_lease_key: 'implied by the primary key; target of the key that copies the mode',
  heartbeat_runs_holding_unique: 'implied by the primary key; target of environment_leases_active_has_running_run',
  environment_leases_holding_unique: 'implied by the primary key; target of heartbeat_runs_running_has_active_lease',
  environment_leases_place_key:
    'implied by the primary key; target of environment_places_not_gone_is_held, and how ids are found',
  environment_leases_one_per_exclusive_workspace:
    'implied by environment_leases_workspace_never_shared, which two at once may meet as a deadlock; how the gate finds ' +
    'who is in a workspace',
  environment_places_company_unique: 'implied by the primary key; target of environment_leases_place_fk',
  environment_places_holding_unique: 'implied by the primary key; target of environment_leases_lingering_has_place',
};
