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
  insert into issues (id, company_id, number, identifier, title) values
    (id('issue'), id('company'), 1, 'OUR-1', 'Fix the anchor'), (id('idle issue'), id('company'), 2, 'OUR-2', 'Paint'),
    (id('their issue'), id('their company'), 1, 'THE-1', 'Fix the anchor');

  insert into agent_wakeup_requests (id, company_id, agent_id, source, status, requested_by_actor_type, requested_by_actor_id)
    values (id('wake'), id('company'), id('agent'), 'timer', 'queued', 'user', 'u'),
      (id('their wake'), id('their company'), id('their agent'), 'timer', 'queued', 'user', 'u');
  insert into agent_wakeup_requests (id, company_id, agent_id, issue_id, source, status, requested_by_actor_type,
      requested_by_actor_id)
    values (id('deferred'), id('company'), id('agent'), id('issue'), 'timer', 'deferred_issue_execution', 'user', 'u');
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
  insert into environment_leases (id, company_id, environment_id, heartbeat_run_id, holder, status, provider, acquired_at,
      last_used_at, expires_at, released_at)
    values (id('active'), id('company'), id('local'), id('running'), 'run', 'active', 'local', now(), now(),
        now() + interval '1 hour', null),
      (id('released'), id('company'), id('local'), id('ended'), 'run', 'released', 'local', now(), now(),
        now() + interval '1 hour', now());
  insert into environment_leases (id, company_id, environment_id, execution_workspace_id, workspace_mode, holder, status,
      provider, acquired_at, last_used_at, expires_at)
    values (id('reservation'), id('company'), id('local'), id('workspace'), 'exclusive', 'me', 'active', 'local', now(),
      now(), now() + interval '1 hour');
  insert into issue_comments (id, company_id, issue_id, author_type, body)
    values (id('comment'), id('company'), id('issue'), 'user', 'Aye');
  insert into heartbeat_run_events (id, company_id, run_id, agent_id, event_type)
    values (id('event'), id('company'), id('running'), id('agent'), 'lifecycle');
  insert into heartbeat_run_log_chunks (run_id, stream_offset, stream, written_at, content)
    values (id('running'), 0, 'stdout', now(), 'a');
  insert into activity_log (id, company_id, actor_type, actor_id, action, entity_type, entity_id)
    values (id('entry'), id('company'), 'user', 'u', 'a', 'e', 'x');
  insert into idempotency_keys (id, company_id, actor, route, key, body_hash, status_code, answer)
    values (id('idempotency'), null, 'user:u', 'POST /api/companies', 'k', '\\x00', 201, '{}');
`;

/** What must not be, the constraint that refuses it, and the statement that tries. */
export type ConstraintCase = [what: string, constraint: string, statement: string];

const set = (table: string, row: string, changes: string) => `update ${table} set ${changes} where id = id('${row}')`;

const copyLease = (columns: string, values: string) =>
  `insert into environment_leases (id, company_id, environment_id, holder, status, provider, acquired_at, last_used_at,
     expires_at, ${columns})
   values (id('new'), id('company'), id('local'), 'h', 'active', 'local', now(), now(), now() + interval '1 hour', ${values})`;

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
    set('environment_leases', 'active', `status = 'released', released_at = clock_timestamp()`),
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
    copyLease('heartbeat_run_id', `id('queued')`),
  ],
  [
    'a second active lease of a running run',
    'environment_leases_active_has_running_run',
    copyLease('heartbeat_run_id', `id('running')`),
  ],
  [
    'a second local environment',
    'environments_one_local',
    `insert into environments (id, company_id, name, driver, status) values (id('new'), id('company'), 'L2', 'local', 'archived')`,
  ],
  [
    'two holders of an exclusive workspace',
    'environment_leases_one_per_exclusive_workspace',
    copyLease(
      'execution_workspace_id, workspace_mode, lease_policy',
      `id('workspace'), 'exclusive', 'reuse_by_execution_workspace'`,
    ),
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
    'two leases with one fencing token',
    'environment_leases_token_unique',
    copyLease('fencing_token', `(select fencing_token from environment_leases where id = id('active'))`),
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
    `insert into agent_wakeup_requests select (jsonb_populate_record(w, jsonb_build_object('id', id('new')))).*
     from agent_wakeup_requests w where id = id('deferred')`,
  ],
  [
    'two rows of one agent skipped for one reason',
    'agent_wakeup_requests_one_skipped',
    `insert into agent_wakeup_requests select (jsonb_populate_record(w, jsonb_build_object('id', new, 'status', 'skipped',
       'status_reason', 'timer_disabled', 'finished_at', now()))).*
     from agent_wakeup_requests w, (values (id('new')), (id('newer'))) as ids (new) where id = id('wake')`,
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
    'a lease that ends before it begins',
    'environment_leases_interval',
    set('environment_leases', 'released', `released_at = acquired_at - interval '1 second'`),
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
    'an archived company without a time',
    'companies_archived_has_time',
    set('companies', 'company', `status = 'archived'`),
  ],
  [
    'an ended wake without its end',
    'agent_wakeup_requests_ended_has_time',
    set('agent_wakeup_requests', 'wake', `status = 'completed'`),
  ],
  [
    'a skipped wake without a reason',
    'agent_wakeup_requests_skip_explained',
    set('agent_wakeup_requests', 'wake', `status = 'skipped', finished_at = now()`),
  ],
  [
    'a comment of no agent in particular',
    'issue_comments_agent_named',
    set('issue_comments', 'comment', `author_type = 'agent'`),
  ],
];

/** Words, names and sizes. */
export const VALUES: ConstraintCase[] = [
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
      ['issue_comments', 'comment', 'author_type'],
      ['heartbeat_run_events', 'event', 'event_type'],
      ['heartbeat_run_events', 'event', 'stream'],
      ['heartbeat_run_events', 'event', 'level'],
      ['activity_log', 'entry', 'actor_type'],
    ] as const
  ).map(([table, row, column]): ConstraintCase => [
    `a ${column} of ${table} that nobody knows`,
    `${table}_${column}_check`,
    set(table, row, `${column} = 'nonsense'`),
  ]),
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
      ['agent_api_keys', 'key'],
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
  ['a capacity of 0', 'environments_capacity_check', set('environments', 'remote', 'capacity = 0')],
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
    ['agent_wakeup_requests', 'wake', 'run_id', 'their run', 'agent_wakeup_requests_run_fk'],
    ['heartbeat_runs', 'queued', 'agent_id', 'their agent', 'heartbeat_runs_agent_fk'],
    ['heartbeat_runs', 'queued', 'issue_id', 'their issue', 'heartbeat_runs_issue_fk'],
    ['heartbeat_runs', 'queued', 'wakeup_request_id', 'their wake', 'heartbeat_runs_wakeup_fk'],
    ['heartbeat_runs', 'queued', 'retry_of_run_id', 'their run', 'heartbeat_runs_retry_of_fk'],
    ['environment_leases', 'released', 'environment_id', 'their environment', 'environment_leases_environment_fk'],
    ['environment_leases', 'released', 'issue_id', 'their issue', 'environment_leases_issue_fk'],
    ['environment_leases', 'released', 'heartbeat_run_id', 'their run', 'environment_leases_run_fk'],
    [
      'environment_leases',
      'reservation',
      'execution_workspace_id',
      'their workspace',
      'environment_leases_workspace_fk',
    ],
    ['issue_comments', 'comment', 'issue_id', 'their issue', 'issue_comments_issue_fk'],
    ['issue_comments', 'comment', 'created_by_run_id', 'their run', 'issue_comments_run_fk'],
    ['heartbeat_run_events', 'event', 'run_id', 'their run', 'heartbeat_run_events_run_fk'],
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
      ['agents', `(id, company_id, name, adapter_type) values (id('new'), id('nobody'), 'n', 'process')`],
      ['issues', `(id, company_id, number, identifier, title) values (id('new'), id('nobody'), 9, 'NO-9', 'n')`],
      [
        'activity_log',
        `(id, company_id, actor_type, actor_id, action, entity_type, entity_id)
        values (id('new'), id('nobody'), 'user', 'u', 'a', 'e', 'x')`,
      ],
    ] as const
  ).map(([table, values]): ConstraintCase => [
    `a row of ${table} in no company`,
    `${table}_company_id_fkey`,
    `insert into ${table} ${values}`,
  ]),
  [
    'output of no run',
    'heartbeat_run_log_chunks_run_id_fkey',
    `update heartbeat_run_log_chunks set run_id = id('none')`,
  ],
);

/** Constraints that no statement can violate alone, and why they are there. */
export const WITHOUT_CASE: Record<string, string> = {
  execution_workspaces_company_id_fkey: 'implied by execution_workspaces_environment_fk',
  environments_company_unique: 'implied by the primary key; target of the keys that carry the company',
  agents_company_unique: 'the same',
  execution_workspaces_company_unique: 'the same',
  issues_company_unique: 'the same',
  agent_wakeup_requests_company_unique: 'the same',
  heartbeat_runs_company_unique: 'the same',
  environment_leases_company_unique: 'the same',
  execution_workspaces_lease_key: 'implied by the primary key; target of the key that copies the mode',
  heartbeat_runs_holding_unique: 'implied by the primary key; target of environment_leases_active_has_running_run',
  environment_leases_holding_unique: 'implied by the primary key; target of heartbeat_runs_running_has_active_lease',
};
