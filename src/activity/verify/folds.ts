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

/** How the record is folded into the state of one kind of thing. */
export interface Fold {
  /** As its events call their subject. */
  readonly subject: string;
  readonly called: string;
  readonly table: string;
  /** The state of a row, of which the record speaks. */
  readonly state: string;
  readonly company?: string;
  /** States in which retention may have removed the row, and not yet what the record tells of it. */
  readonly removedWhen?: readonly string[];
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
    removedWhen: ['succeeded', 'failed', 'timed_out', 'cancelled'],
    after: [
      [HeartbeatInvoked, `'queued'`],
      [HeartbeatQueued, `'queued'`],
      [
        HeartbeatRetryScheduled,
        `case when details ->> 'scheduledRetryAt' is not null then 'scheduled_retry' else 'queued' end`,
      ],
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
    removedWhen: ['released', 'expired', 'failed'],
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
    removedWhen: ['gone'],
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

/** The state after an entry about such a thing; null after one that has no say in it. */
export const stateAfter = ({ after }: Fold): string =>
  `case action ${after.map(([event, to]) => `when '${event.action}' then ${to}`).join('\n          ')} end`;
