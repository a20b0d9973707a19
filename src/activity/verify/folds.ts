import {
  AgentCreated,
  AgentDeleted,
  AgentKeyCreated,
  AgentKeyRevoked,
  AgentPaused,
  AgentResumed,
  AgentTerminated,
} from '../../agents/agents.events.js';
import { CompanyArchived, CompanyCreated } from '../../companies/companies.events.js';
import {
  EnvironmentActivated,
  EnvironmentArchived,
  EnvironmentCreated,
  EnvironmentDeleted,
  EnvironmentDraining,
} from '../../environments/environments.events.js';
import { WorkspaceArchived, WorkspaceCreated, WorkspaceUpdated } from '../../environments/workspaces.events.js';
import type { DomainEventClass } from '../../events/domain-event.js';
import {
  HeartbeatCancelled,
  HeartbeatFailed,
  HeartbeatInvoked,
  HeartbeatQueued,
  HeartbeatRetryScheduled,
  HeartbeatStarted,
  HeartbeatSucceeded,
  HeartbeatTimedOut,
} from '../../heartbeat/runs/heartbeat.events.js';
import { IssueCreated, IssueDeleted } from '../../issues/issues.events.js';
import { LeaseAcquired, LeaseExpired, LeaseFailed, LeaseReleased } from '../../leases/leases.events.js';
import {
  PlaceChanged,
  PlaceCleaning,
  PlaceCleanUpFailed,
  PlaceForgotten,
  PlaceGone,
  PlaceKeptWarm,
  PlaceParked,
  PlaceReady,
  PlaceRealising,
  PlaceRetained,
  PlaceTakenOver,
} from '../../leases/places/places.events.js';
import { SecretCreated, SecretDeleted, SecretRotated } from '../../secrets/secrets.events.js';
import type { Check } from './check.js';

/** How the record is folded into the state of one kind of thing. */
interface Fold {
  /** As its events call their subject. */
  readonly subject: string;
  readonly called: string;
  readonly table: string;
  /** The state of a row, of which the record speaks. */
  readonly state: string;
  readonly company?: string;
  /** The state after each event that has a say in it: SQL over the entry's `details`; null for an event that has not. */
  readonly after: readonly (readonly [DomainEventClass, string])[];
}

const KEPT_OR_DELETED = `case when deleted_at is null then 'kept' else 'deleted' end`;
const NAMED_BY_ENTRY = `details ->> 'state'`;

/** An event that is missing here says nothing about the state: a test lists those. */
export const FOLDS: readonly Fold[] = [
  {
    subject: 'company',
    called: 'Company',
    table: 'companies',
    company: 'id',
    state: 'status',
    after: [
      [CompanyCreated, `'active'`],
      [CompanyArchived, `'archived'`],
    ],
  },
  {
    subject: 'environment',
    called: 'Environment',
    table: 'environments',
    state: `case when deleted_at is null then status else 'deleted' end`,
    after: [
      [EnvironmentCreated, `'active'`],
      [EnvironmentActivated, `'active'`],
      [EnvironmentDraining, `'draining'`],
      [EnvironmentArchived, `'archived'`],
      [EnvironmentDeleted, `'deleted'`],
    ],
  },
  {
    subject: 'execution_workspace',
    called: 'Workspace',
    table: 'execution_workspaces',
    state: 'status',
    after: [
      [WorkspaceCreated, `'active'`],
      [WorkspaceArchived, `'archived'`],
      [WorkspaceUpdated, `case when details -> 'fields' @> '["status"]' then 'active' end`],
    ],
  },
  {
    subject: 'agent',
    called: 'Agent',
    table: 'agents',
    state: `case when deleted_at is not null then 'deleted' when status in ('paused', 'terminated') then status
      else 'in service' end`,
    after: [
      [AgentCreated, `'in service'`],
      [AgentResumed, `'in service'`],
      [AgentPaused, `'paused'`],
      [AgentTerminated, `'terminated'`],
      [AgentDeleted, `'deleted'`],
    ],
  },
  {
    subject: 'secret',
    called: 'Secret',
    table: 'secrets',
    state: `case when deleted_at is null then 'version ' || latest_version else 'deleted' end`,
    after: [
      [SecretCreated, `'version 1'`],
      [SecretRotated, `'version ' || (details ->> 'version')`],
      [SecretDeleted, `'deleted'`],
    ],
  },
  {
    subject: 'agent_api_key',
    called: 'Agent key',
    table: 'agent_api_keys',
    state: `case when revoked_at is null then 'valid' else 'revoked' end`,
    after: [
      [AgentKeyCreated, `'valid'`],
      [AgentKeyRevoked, `'revoked'`],
    ],
  },
  {
    subject: 'issue',
    called: 'Issue',
    table: 'issues',
    state: KEPT_OR_DELETED,
    after: [
      [IssueCreated, `'kept'`],
      [IssueDeleted, `'deleted'`],
    ],
  },
  {
    subject: 'heartbeat_run',
    called: 'Run',
    table: 'heartbeat_runs',
    state: 'status',
    after: [
      [HeartbeatInvoked, `'queued'`],
      [HeartbeatQueued, `'queued'`],
      [HeartbeatRetryScheduled, `case when details ? 'scheduledRetryAt' then 'scheduled_retry' else 'queued' end`],
      [HeartbeatStarted, `'running'`],
      [HeartbeatSucceeded, `'succeeded'`],
      [HeartbeatFailed, `'failed'`],
      [HeartbeatTimedOut, `'timed_out'`],
      [HeartbeatCancelled, `'cancelled'`],
    ],
  },
  {
    subject: 'environment_lease',
    called: 'Lease',
    table: 'environment_leases',
    state: 'status',
    after: [
      [LeaseAcquired, `'active'`],
      [LeaseReleased, `'released'`],
      [LeaseExpired, `'expired'`],
      [LeaseFailed, `'failed'`],
    ],
  },
  {
    subject: 'environment_place',
    called: 'Place',
    table: 'environment_places',
    state: 'state',
    after: [
      PlaceRealising,
      PlaceReady,
      PlaceKeptWarm,
      PlaceRetained,
      PlaceTakenOver,
      PlaceCleaning,
      PlaceCleanUpFailed,
      PlaceParked,
      PlaceChanged,
      PlaceGone,
      PlaceForgotten,
    ].map((event) => [event, NAMED_BY_ENTRY] as const),
  },
];

/**
 * Every row is as the last entry says that spoke of its state, and everything that the record speaks of has a row.
 * Within one thing `seq` is the order in which it happened: whoever changes it holds its row before its entry is written.
 */
export const FOLD_CHECKS: readonly Check[] = FOLDS.map(
  ({ subject, called, table, state, company = 'company_id', after }) => ({
    name: `${table}_as_recorded`,
    claim: `Each row of ${table} is as the last entry about it says.`,
    over: table,
    divergences: `
    with said as (
      select distinct on (company_id, entity_id) company_id, entity_id, seq, action, state from (
        select company_id, entity_id, seq, action, case action
          ${after.map(([event, to]) => `when '${event.action}' then ${to}`).join('\n          ')} end as state
        from activity_log where entity_type = '${subject}'
          and action in (${after.map(([event]) => `'${event.action}'`).join(', ')})) entry
      where state is not null order by company_id, entity_id, seq desc),
    kept as (select ${company} as company_id, id::text as entity_id, ${state} as state from ${table})
    select coalesce(kept.entity_id, said.entity_id) as id, case
      when said.state is null then
        format('${called} %s is %s, and the record has no entry that made it so', kept.entity_id, kept.state)
      when kept.state is null then
        format('${called} %s is %s by entry %s (%s), and there is no such row', said.entity_id, said.state, said.seq, said.action)
      else format('${called} %s is %s, and %s by the last entry about it, %s (%s)',
        kept.entity_id, kept.state, said.state, said.seq, said.action) end as sentence
    from kept full join said on said.company_id = kept.company_id and said.entity_id = kept.entity_id
    where kept.state is distinct from said.state`,
  }),
);
