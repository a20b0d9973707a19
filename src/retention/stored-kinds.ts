import type { DueKind } from './due-statements.js';
import type { RetentionKind } from './retention-kind.js';

/** What is stored and grows. A run's events are read off its row. */
export const STORED_KINDS = [
  'activity',
  'activityFolds',
  'runs',
  'leases',
  'wakes',
  'places',
  'runLogs',
  'idempotencyKeys',
  'issues',
  'comments',
  'secretVersions',
] as const;
export type StoredKind = (typeof STORED_KINDS)[number];

/** Where something is stored. */
export interface Stored {
  readonly kind: StoredKind;
  readonly table: string;
  /** The setting that it follows; days where that is fixed; null where it stays. */
  readonly retention: RetentionKind | number | null;
  /** A query of the time of its oldest row, `at`, at the end of an index; null where no index has them by their time. */
  readonly oldest: string | null;
  /** How what is due of it is found; null where it goes with something else, or stays. */
  readonly due: DueKind | null;
}

const firstById = (table: string) => `select created_at as at from ${table} order by id limit 1`;

export const STORED: readonly Stored[] = [
  {
    kind: 'activity',
    table: 'activity_rows',
    retention: 'activity',
    oldest: `select min(first.created_at) as at from companies c cross join lateral (
      select created_at from activity_rows where company_id = c.id order by created_at, seq limit 1) first`,
    due: 'activity',
  },
  { kind: 'activityFolds', table: 'activity_folds', retention: null, oldest: null, due: null },
  { kind: 'runs', table: 'heartbeat_runs', retention: 'runs', oldest: firstById('heartbeat_runs'), due: 'runs' },
  {
    kind: 'leases',
    table: 'environment_leases',
    retention: 'runs',
    oldest: firstById('environment_leases'),
    due: 'leases',
  },
  {
    kind: 'wakes',
    table: 'agent_wakeup_requests',
    retention: 'runs',
    oldest: firstById('agent_wakeup_requests'),
    due: 'wakes',
  },
  {
    kind: 'places',
    table: 'environment_places',
    retention: 'runs',
    oldest: firstById('environment_places'),
    due: null,
  },
  {
    kind: 'runLogs',
    table: 'heartbeat_run_log_chunks',
    retention: 'runLogs',
    oldest: 'select written_at as at from heartbeat_run_log_chunks order by run_id, stream_offset limit 1',
    due: 'runLogs',
  },
  {
    kind: 'idempotencyKeys',
    table: 'idempotency_keys',
    retention: 1,
    oldest: 'select created_at as at from idempotency_keys order by created_at limit 1',
    due: null,
  },
  { kind: 'issues', table: 'issues', retention: null, oldest: firstById('issues'), due: null },
  { kind: 'comments', table: 'issue_comments', retention: null, oldest: firstById('issue_comments'), due: null },
  {
    kind: 'secretVersions',
    table: 'secret_versions',
    retention: null,
    oldest: 'select created_at as at from secret_versions order by secret_id, version limit 1',
    due: null,
  },
];
