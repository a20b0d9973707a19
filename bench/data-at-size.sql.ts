import type { Frame } from './data-at-size.ts';

// Everything has a number, and its id, its company and its neighbours follow from that number: what refers to something
// can be written without looking for it.
const COMPANIES = 20;
/** Agents of the first company, and of each other one. */
const AGENTS = 200;
const AGENTS_ELSEWHERE = 20;
const ALL_AGENTS = AGENTS + (COMPANIES - 1) * AGENTS_ELSEWHERE;
/** Environments of the first company: one local, then those with a capacity, those of the workspaces, and others. */
const ENVIRONMENTS = 21;
const CAPPED = 10;
const CAPACITY = 8;
/** The first half of them are exclusive. */
const WORKSPACES = 40;
/** Of the first company; each is used by one agent. */
const SECRETS = 20;
/** Agents of the first company that run one thing at a time. */
const BUSY_AGENTS = 10;

/** Sources of ids: each of them is found in the third group of its ids. */
const KINDS = {
  company: 1,
  agent: 2,
  environment: 3,
  workspace: 4,
  issue: 5,
  wake: 6,
  run: 7,
  lease: 8,
  place: 9,
  comment: 10,
  other: 11,
  secret: 12,
};

const named = (name: keyof typeof KINDS, begun: string) => `
  create function pg_temp.${name}(n bigint) returns uuid language sql stable as
  $$ select pg_temp.id(${KINDS[name]}, n, '${begun}') $$`;

/** Functions of the session with which the statements below are written. */
export const FUNCTIONS = ({ begun, stepMs, runs, issues, nextTransaction }: Frame): string[] => [
  // UUIDv7: the time, the kind, and the number where others have chance.
  `create function pg_temp.id(kind integer, n bigint, at timestamptz) returns uuid language sql stable as $$
    select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(kind), 3, '0')
      || '8' || lpad(to_hex(n), 15, '0'))::uuid $$`,
  ...(['company', 'agent', 'environment', 'workspace', 'issue', 'secret'] as const).map((name) => named(name, begun)),
  // Numbers from 1 on, so that the record of how things were made comes before that of what they did.
  `create function pg_temp.sequence(n bigint, k integer) returns bigint language sql stable as
    $$ select 1000000 + n * 12 + k * 2 $$`,
  `create function pg_temp.transaction(n bigint) returns xid8 language sql stable as
    $$ select greatest(3, n * ${nextTransaction - 1} / ${runs})::text::xid8 $$`,
  `create function pg_temp.history(first bigint, past bigint) returns table (n bigint, company integer, run_id uuid,
     wake_id uuid, lease_id uuid, place_id uuid, company_id uuid, agent_id uuid, issue_id uuid, environment_id uuid,
     workspace_id uuid, workspace_mode text, slot integer, status text, created_at timestamptz, started_at timestamptz,
     ended_at timestamptz, lease_status text, place_state text) language sql stable as $$
   select n, company, pg_temp.id(${KINDS.run}, n, created_at), pg_temp.id(${KINDS.wake}, n, created_at),
     pg_temp.id(${KINDS.lease}, n, started_at), case when place_state is not null then pg_temp.id(${KINDS.place}, n, started_at) end,
     pg_temp.company(company), pg_temp.agent(agent),
     case when company = 0 and n / 10 % 2 = 0 then pg_temp.issue(n * 7 % ${issues}) end,
     pg_temp.environment(case when company > 0 then ${ENVIRONMENTS - 1} + company when n % 10 < 2 then 1 + (n / 10 * 2 + n % 10) % ${CAPPED}
       when workspace is not null then ${CAPPED + 1} + workspace % 5 when n % 10 = 7 then ${CAPPED + 6} + n / 10 % 5 else 0 end),
     pg_temp.workspace(workspace), case when workspace < ${WORKSPACES / 2} then 'exclusive' when workspace is not null then 'shared' end,
     case when n % 10 < 2 then ((n / 10 * 2 + n % 10) / ${CAPPED} % ${CAPACITY} + 1)::integer end,
     status, created_at, started_at, started_at + took,
     case when status = 'failed' and n % 16 = 0 then 'expired' when status in ('failed', 'timed_out') then 'failed' else 'released' end,
     place_state
   from (
     select n, company, status, created_at, created_at + interval '1 s' as started_at,
       case when company = 0 then (n / 10 * 8 + n % 10) % ${AGENTS} else ${AGENTS} + (company - 1) * ${AGENTS_ELSEWHERE} + n / 190 % ${AGENTS_ELSEWHERE} end as agent,
       case n % 10 when 2 then n / 10 % ${WORKSPACES / 2} when 3 then ${WORKSPACES / 2} + n / 10 % ${WORKSPACES / 2} end as workspace,
       -- Most take minutes at most; a few take most of a day.
       case when n % 1000 = 5 then least(interval '20 hours', make_interval(secs => (${runs} - n) * ${stepMs / 1000})) else make_interval(secs => 2 + n * 7919 % 300) end as took,
       case when n % 10 in (7, 8) then case when status = 'failed' and n > ${runs} - 5000 then 'retained' else 'gone' end end as place_state
     from (
       select n, case when n % 10 < 8 then 0 else (1 + n / 10 % ${COMPANIES - 1})::integer end as company,
         '${begun}'::timestamptz + make_interval(secs => n * ${stepMs / 1000}) as created_at,
         -- In the first company some ends are rare and long ago, and one never came.
         case when n * 7919 % 200 < 8 then 'failed' when n * 7919 % 200 = 8 and (n % 10 > 7 or n < ${runs} / 100) then 'cancelled'
           when n * 7919 % 200 in (9, 10) and n % 10 > 7 then 'timed_out' else 'succeeded' end as status
       from generate_series(first, past - 1) n) numbered) placed $$`,
  `create temporary table these as select * from pg_temp.history(0, 0)`,
];

const LOCAL = 'local';
/** A driver that makes places, as whoever adds one would call it. */
const MAKES_PLACES = 'sandbox';

const created = (kind: string, action: string, rows: string, first: number) => `
  insert into activity_rows (seq, tx, company_id, actor_type, actor_id, action, entity_type, entity_id, details, created_at)
  overriding system value
  select ${first} + n, '3', company_id, 'user', 'operator', '${action}', '${kind}', id, '{}', at
  from (${rows}) made (n, id, company_id, at)`;

/** Companies, agents, environments, workspaces and issues, and that they were made. */
export const DIMENSIONS = ({ begun, issues, issuesElsewhere, live }: Frame): string[] => {
  const at = `'${begun}'::timestamptz`;
  const allIssues = issues + (COMPANIES - 1) * issuesElsewhere;
  const companyOfAgent = `case when n < ${AGENTS} then 0 else 1 + (n - ${AGENTS}) / ${AGENTS_ELSEWHERE} end`;
  const companyOfEnvironment = `greatest(n - ${ENVIRONMENTS - 1}, 0)`;
  const companyOfIssue = `case when n < ${issues} then 0 else 1 + (n - ${issues}) / ${issuesElsewhere} end`;
  const runsInSecond = Math.min(live, AGENTS_ELSEWHERE);
  const made = (table: string) => `select row_number() over (order by id), id, company_id, ${at} from ${table}`;
  return [
    `insert into companies (id, name, issue_prefix, issue_counter, created_at, updated_at)
     select pg_temp.company(n), 'Harbour ' || n, 'H' || n, case when n = 0 then ${issues} else ${issuesElsewhere} end, ${at}, ${at}
     from generate_series(0, ${COMPANIES - 1}) n`,
    `insert into agents (id, company_id, name, adapter_type, adapter_config, runtime_config, last_heartbeat_at, created_at, updated_at)
     select pg_temp.agent(n), pg_temp.company(${companyOfAgent}), 'Deckhand ' || n, 'process', '{"command": "true"}',
       case when n < ${BUSY_AGENTS} then '{"heartbeat": {"maxConcurrentRuns": 1}}' else '{}' end::jsonb, now(), ${at}, ${at}
     from generate_series(0, ${ALL_AGENTS - 1}) n`,
    // The second company's is full of what runs there.
    `insert into environments (id, company_id, name, driver, capacity, created_at, updated_at)
     select pg_temp.environment(n), pg_temp.company(${companyOfEnvironment}), 'Berth ' || n,
       case when n = 0 or n >= ${ENVIRONMENTS} then '${LOCAL}' else '${MAKES_PLACES}' end,
       case when n = ${ENVIRONMENTS} then ${runsInSecond} when n between 1 and ${CAPPED} then ${CAPACITY} end, ${at}, ${at}
     from generate_series(0, ${ENVIRONMENTS + COMPANIES - 2}) n`,
    `insert into secrets (id, company_id, name, created_at, updated_at)
     select pg_temp.secret(n), pg_temp.company(0), 'Token ' || n, ${at}, ${at} from generate_series(0, ${SECRETS - 1}) n`,
    `insert into secret_versions (company_id, secret_id, version, key_id, nonce, ciphertext, created_at)
     select company_id, id, 1, 'k', substring(decode(md5(id::text), 'hex') for 12), decode(repeat('00', 32), 'hex'), ${at}
     from secrets`,
    `insert into secret_references (company_id, secret_id, agent_id, path)
     select pg_temp.company(0), pg_temp.secret(n), pg_temp.agent(n), 'adapterConfig.env.TOKEN'
     from generate_series(0, ${SECRETS - 1}) n`,
    `insert into execution_workspaces (id, company_id, environment_id, name, mode, cwd, created_at, updated_at)
     select pg_temp.workspace(n), pg_temp.company(0), pg_temp.environment(${CAPPED + 1} + n % 5), 'Bay ' || n,
       case when n < ${WORKSPACES / 2} then 'exclusive' else 'shared' end, '/srv/bay/' || n, ${at}, ${at}
     from generate_series(0, ${WORKSPACES - 1}) n`,
    `insert into issues (id, company_id, number, identifier, title, description, status, assignee_agent_id, execution_workspace_id,
       created_at, updated_at)
     select pg_temp.issue(n), pg_temp.company(company), number, 'H' || company || '-' || number, 'Fix the anchor ' || number,
       repeat('The anchor does not hold. ', 8),
       case when n < ${AGENTS} then 'in_progress' when n % 10 = 0 then 'todo' when n % 1000 = 1 then 'blocked' else 'done' end,
       case when company = 0 then pg_temp.agent(n % ${AGENTS}) end,
       case when company = 0 and n % 50 = 2 and n >= ${AGENTS} then pg_temp.workspace(n / 50 % ${WORKSPACES}) end, ${at}, ${at}
     from (select n, ${companyOfIssue} as company,
       case when n < ${issues} then n else (n - ${issues}) % ${issuesElsewhere} end + 1 as number
       from generate_series(0, ${allIssues - 1}) n) numbered`,
    created('company', 'company.created', `select row_number() over (order by id), id, id, ${at} from companies`, 0),
    created('agent', 'agent.created', made('agents'), 1_000),
    created('environment', 'environment.created', made('environments'), 2_000),
    created('execution_workspace', 'workspace.created', made('execution_workspaces'), 3_000),
    created('secret', 'secret.created', made('secrets'), 4_000),
    created('issue', 'issue.created', made('issues'), 10_000),
    `insert into runners (id, host, host_name, pid, slots, version, started_at, last_seen_at, stopped_at)
     select pg_temp.id(${KINDS.other}, n, ${at}), 'host-' || n % 4, 'harbour-' || n % 4, 1000 + n, 10, '0.1.0', ${at}, ${at}, ${at}
     from generate_series(1, 100) n`,
  ];
};

const CONTEXT = `jsonb_build_object('issueId', issue_id, 'wakeReason', 'issue_assigned', 'wakeReasons', '["issue_assigned"]'::jsonb)`;
const PLACEMENT = `'{"decidedBy": "default", "environmentName": "Berth", "found": {"agent": {"running": 0, "cap": 5}}}'::jsonb`;
const AUTHOR = `'system', 'runner:1'`;
const LEASE_COLUMNS = `lease_id, environment_id, execution_workspace_id, issue_id, driver, lease_policy, host`;
const NO_LEASE = `null::uuid, null::uuid, null::uuid, null::uuid, null, null, null`;
const ITS_LEASE = `h.lease_id, h.environment_id, h.workspace_id, h.issue_id, '${LOCAL}', 'ephemeral',`;
const SUCCEEDED = `h.status = 'succeeded' and h.lease_status = 'released'`;
const ENDED_DETAILS = `jsonb_build_object('leaseId', h.lease_id, 'issueId', h.issue_id, 'errorCode', 'adapter_failed')`;
const LEASE_DETAILS = `jsonb_build_object('environmentId', h.environment_id, 'driver', '${LOCAL}', 'leasePolicy', 'ephemeral',
  'provider', '${LOCAL}', 'executionWorkspaceId', h.workspace_id, 'issueId', h.issue_id, 'status', h.lease_status)`;

/** The rows of one run: of its number, when, the actor, what happened, to what other than it, what it says, and its lease. */
const ROWS = `(values
  (1, h.created_at, 'user', 'operator', 'heartbeat.invoked', null, null, jsonb_build_object('source', 'on_demand'), ${NO_LEASE}),
  (2, h.started_at, ${AUTHOR}, 'heartbeat.started', null, null, null, ${ITS_LEASE} 'host-1'),
  (3, h.ended_at, ${AUTHOR}, 'heartbeat.succeeded', null, null, null, ${ITS_LEASE} null),
  (4, h.ended_at, ${AUTHOR}, 'heartbeat.' || h.status, null, null, ${ENDED_DETAILS}, ${NO_LEASE}),
  (5, h.ended_at, ${AUTHOR}, 'environment.lease_' || h.lease_status, 'environment_lease', h.lease_id, ${LEASE_DETAILS}, ${NO_LEASE})
  ) entry (k, at, actor_type, actor_id, action, entity_type, entity_id, details, ${LEASE_COLUMNS})`;

const record = (history: string, rows: string) => `
  insert into activity_rows (seq, tx, company_id, actor_type, actor_id, action, entity_type, entity_id, agent_id, run_id, details,
    created_at, ${LEASE_COLUMNS})
  overriding system value
  select pg_temp.sequence(h.n, k), pg_temp.transaction(h.n), h.company_id, entry.actor_type, entry.actor_id, entry.action,
    entry.entity_type, entry.entity_id::text, h.agent_id, h.run_id, entry.details, entry.at,
    ${LEASE_COLUMNS.replaceAll(/\w+/g, 'entry.$&')}
  from ${history} h cross join lateral ${ROWS} where ${rows} order by h.n, k`;

/** What ended runs left. */
export const HISTORY = (from: number, past: number): string[] => [
  `truncate these`,
  `insert into these select * from pg_temp.history(${from}, ${past})`,
  // Some wakes joined a run that was queued already.
  `insert into agent_wakeup_requests (id, company_id, agent_id, issue_id, run_id, source, trigger_detail, reason, status,
     requested_by_actor_type, requested_by_actor_id, finished_at, created_at, updated_at)
   select pg_temp.id(${KINDS.other}, n, created_at), company_id, agent_id, issue_id, run_id, 'on_demand', 'manual', 'issue_assigned',
     'coalesced', 'user', 'operator', created_at, created_at, created_at from these h where n % 4 = 0`,
  `insert into heartbeat_runs (id, company_id, agent_id, issue_id, wakeup_request_id, invocation_source, trigger_detail, status,
     due_at, context_snapshot, placement, lease_id, runner_id, process_pid, process_group_id, process_started_at, log_bytes,
     stdout_excerpt, exit_code, error, error_code, result_json, started_at, finished_at, created_at, updated_at)
   select run_id, company_id, agent_id, issue_id, wake_id, 'on_demand', 'manual', status, created_at, ${CONTEXT}, ${PLACEMENT},
     lease_id, '1', 4711, 4711, started_at, 200, repeat('all hands on deck ', 6), 0,
     case when status <> 'succeeded' then 'Exited with code 1' end, case when status <> 'succeeded' then 'adapter_failed' end,
     '{"result": "done"}', started_at, ended_at, created_at, ended_at from these h`,
  `insert into environment_leases (id, company_id, environment_id, execution_workspace_id, workspace_mode, issue_id, heartbeat_run_id,
     run_lease_id, holder, status, provider, slot, place_id, fencing_token, runner_id, host, acquired_at, last_used_at, expires_at,
     lifetime_ends_at, released_at, held_until, failure_reason, created_at, updated_at) overriding system value
   select lease_id, company_id, environment_id, workspace_id, workspace_mode, issue_id, run_id, lease_id, 'run:' || run_id,
     lease_status, '${LOCAL}', slot, place_id, n + 1, '1', 'host-1', started_at, ended_at, ended_at + interval '60 s',
     started_at + interval '1 day', ended_at, case when place_state is distinct from 'retained' then ended_at end,
     case when lease_status <> 'released' then 'Exited with code 1' end, started_at, ended_at from these h`,
  `insert into environment_places (id, company_id, environment_id, lease_id, state, driver, adapter_type, config_fingerprint,
     facts, realise_deadline_at, keep_until, gone_at, created_at, updated_at)
   select place_id, company_id, environment_id, lease_id, place_state, '${MAKES_PLACES}', 'process', 'a', '{"directory": "/srv/place"}',
     started_at, case when place_state = 'retained' then now() + interval '1 day' end, case when place_state = 'gone' then ended_at end,
     started_at, ended_at from these h where place_id is not null`,
  // A place is as its last entry says.
  record('these', `case when ${SUCCEEDED} then k <= 3 else k <> 3 end`),
  `insert into activity_rows (seq, tx, company_id, actor_type, actor_id, action, entity_type, entity_id, details, created_at)
   overriding system value
   select pg_temp.sequence(n, 6), pg_temp.transaction(n), company_id,
     ${AUTHOR}, 'environment.place_' || place_state, 'environment_place', place_id, jsonb_build_object('state', place_state), ended_at
   from these h where place_id is not null`,
  `insert into issue_comments (id, company_id, issue_id, author_type, author_agent_id, created_by_run_id, body, created_at)
   select pg_temp.id(${KINDS.comment}, n, ended_at), company_id, issue_id, 'agent', agent_id, run_id, 'The anchor holds.', ended_at
   from these h where issue_id is not null and n % 5 = 0`,
  `insert into heartbeat_run_log_chunks (run_id, stream_offset, stream, written_at, content)
   select run_id, 0, 'stdout', started_at, convert_to(repeat('all hands on deck ', 11), 'UTF8') from these h where n % 5 = 0`,
  `insert into idempotency_keys (id, company_id, actor, route, key, body_hash, status_code, answer, created_at)
   select pg_temp.id(${KINDS.other}, n, created_at + interval '2 ms'), company_id, 'operator', 'POST /agents/:id/wakeup', 'key-' || n,
     '\\x00', 202, '{}', now() - make_interval(secs => n % 86000) from these h where n % 20 = 0`,
];

/** What goes on now: runs that are running, runs and wakes that wait. */
export const LIVE = ({ runs, live, waiting }: Frame): string[] => {
  // First all of the second company's agents, whose environment that fills; then those of the first.
  const running = `(select ${runs} + k as n, case when k < ${AGENTS_ELSEWHERE} then 1 when k < ${AGENTS_ELSEWHERE + AGENTS} then 0
      else 1 + (k - ${AGENTS}) / ${AGENTS_ELSEWHERE} end as company, now() as at,
    case when k < ${AGENTS_ELSEWHERE} then ${AGENTS} + k when k < ${AGENTS_ELSEWHERE + AGENTS} then k - ${AGENTS_ELSEWHERE} else k end as agent
    from generate_series(0, ${live - 1}) k)`;
  const these = `(select n, pg_temp.id(${KINDS.run}, n, at) as run_id, pg_temp.id(${KINDS.wake}, n, at) as wake_id,
    pg_temp.id(${KINDS.lease}, n, at) as lease_id, pg_temp.company(company) as company_id, pg_temp.agent(agent) as agent_id,
    case when company = 0 then pg_temp.issue(agent) end as issue_id, null::uuid as workspace_id,
    pg_temp.environment(case company when 0 then 0 else ${ENVIRONMENTS - 1} + company end) as environment_id,
    case when company = 1 then (n - ${runs} + 1)::integer end as slot, 'running' as status, 'active' as lease_status,
    at as created_at, at as started_at, at as ended_at from ${running} r)`;
  const first = runs + live;
  const queued = `(select ${first} + k as n, case when k % 2 = 0 then 0 else 1 end as company, now() - interval '1 hour' as at,
    case when k % 2 = 0 then k / 2 % ${BUSY_AGENTS} else ${AGENTS} + k / 2 % ${AGENTS_ELSEWHERE} end as agent
    from generate_series(0, ${waiting - 1}) k)`;
  const inQueue = `(select n, pg_temp.id(${KINDS.run}, n, at) as run_id, pg_temp.id(${KINDS.wake}, n, at) as wake_id, null::uuid as lease_id,
    pg_temp.company(company) as company_id, pg_temp.agent(agent) as agent_id, null::uuid as issue_id, null::uuid as workspace_id,
    null::uuid as environment_id, 'queued' as status, '' as lease_status, at as created_at, at as started_at, at as ended_at from ${queued} q)`;
  return [
    `insert into heartbeat_runs (id, company_id, agent_id, issue_id, wakeup_request_id, invocation_source, trigger_detail, status, due_at,
       context_snapshot, placement, lease_id, runner_id, started_at, created_at, updated_at)
     select run_id, company_id, agent_id, issue_id, wake_id, 'on_demand', 'manual', status, created_at, ${CONTEXT}, ${PLACEMENT}, lease_id,
       '1', started_at, created_at, created_at from ${these} h`,
    `insert into heartbeat_runs (id, company_id, agent_id, wakeup_request_id, invocation_source, trigger_detail, status, due_at,
       context_snapshot, created_at, updated_at)
     select run_id, company_id, agent_id, wake_id, 'on_demand', 'manual', status, created_at, '{"wakeReason": "manual"}', created_at,
       created_at from ${inQueue} h`,
    // Nobody renews these: they would be reaped if they did not last.
    `insert into environment_leases (id, company_id, environment_id, issue_id, heartbeat_run_id, run_lease_id, holder, status, provider,
       slot, fencing_token, runner_id, host, acquired_at, last_used_at, expires_at, lifetime_ends_at, created_at, updated_at)
       overriding system value
     select lease_id, company_id, environment_id, issue_id, run_id, lease_id, 'run:' || run_id, 'active', '${LOCAL}', slot, n + 1, '1', 'host-1',
       started_at, started_at, started_at + interval '1 day', started_at + interval '1 day', started_at, started_at from ${these} h`,
    record(these, 'k <= 2'),
    record(inQueue, 'k = 1'),
    `insert into agent_wakeup_requests (id, company_id, agent_id, issue_id, source, trigger_detail, reason, status, requested_by_actor_type,
       requested_by_actor_id, created_at, updated_at)
     select pg_temp.id(${KINDS.wake}, ${first + waiting} + k, now()), pg_temp.company(0), pg_temp.agent((issue + 1 + k / busy) % ${AGENTS}),
       pg_temp.issue(issue), 'automation', 'system', 'issue_commented', 'deferred_issue_execution', 'user', 'operator', now(), now()
     from (select least(${AGENTS}, ${live - AGENTS_ELSEWHERE}) as busy) b, generate_series(0, ${waiting - 1}) k,
       lateral (select k % busy as issue) i`,
    `select setval(pg_get_serial_sequence('activity_rows', 'seq'), (select max(seq) from activity_rows))`,
    `select setval('fencing_token', ${first + waiting})`,
  ];
};
