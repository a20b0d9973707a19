import { defineEntity, p } from '@mikro-orm/core';
import { createdAtColumn, idColumn, objectColumn, timeColumn, updatedAtColumn } from '../../database/columns.js';

export const INVOCATION_SOURCES = ['timer', 'assignment', 'on_demand', 'automation'] as const;
export type InvocationSource = (typeof INVOCATION_SOURCES)[number];
export const TRIGGER_DETAILS = ['manual', 'ping', 'callback', 'system'] as const;
export type TriggerDetail = (typeof TRIGGER_DETAILS)[number];

export const RUN_STATUSES = [
  'queued',
  'scheduled_retry',
  'running',
  'succeeded',
  'failed',
  'cancelled',
  'timed_out',
] as const;
export type RunStatus = (typeof RUN_STATUSES)[number];
export const LIVE_RUN_STATUSES = ['queued', 'running'] as const satisfies readonly RunStatus[];
/** How a run can end. Terminal is final. */
export type TerminalRunStatus = Extract<RunStatus, 'succeeded' | 'failed' | 'cancelled' | 'timed_out'>;

/** What ended a run that somebody wanted to end: the run itself was not wanted, or its place. */
export type CancelCode = 'cancelled' | 'lease_revoked';

/** Why a run that could be due has not started: a stable code, a sentence, and what it waits on. */
export interface WaitingReason {
  code: string;
  message: string;
  /** Since when this has been the reason. */
  since?: string;
  scope: { type: 'company' | 'agent' | 'issue' | 'environment' | 'workspace'; id: string } | null;
}

/** Whose reference decides where a run goes; `default` is none, which means `Local`. */
export type DecidedBy = 'issue' | 'workspace' | 'agent' | 'company' | 'default';

/** Why a run went where it went, as it was at its start. */
export interface PlacementRecord {
  decidedBy: DecidedBy;
  /** What each reference said, in the order in which they are asked. */
  references: Record<'issue' | 'workspace' | 'agent' | 'company', string | null>;
  environmentId: string;
  /** As it was called then. */
  environmentName: string;
  driver: string;
  /** Of the lease that the run started under. */
  fencingToken: number;
  /** Of the runner that took it. */
  host: string;
  slot: number | null;
  place: { id: string; takenOver: boolean } | null;
  /** What the gate counted before it let the run through; null where nothing is limited. */
  found: {
    agent: { running: number; cap: number };
    company: { running: number; cap: number } | null;
    environment: { held: number; capacity: number } | null;
    workspace: { id: string; mode: 'shared' | 'exclusive'; cwd: string } | null;
  };
  /** What it waited for last. */
  waitedFor: WaitingReason | null;
}

/** What the run's row keeps of that: what is not known is left out, and the rest is its lease's to say. */
export interface KeptPlacement extends Pick<PlacementRecord, 'decidedBy' | 'environmentName'> {
  references?: Partial<PlacementRecord['references']>;
  takenOver?: true;
  found: Pick<PlacementRecord['found'], 'agent'> & Partial<PlacementRecord['found']>;
  waitedFor?: WaitingReason;
}

/** What the lease says of it under which a run started. */
export interface PlacedUnder extends Pick<
  PlacementRecord,
  'environmentId' | 'driver' | 'fencingToken' | 'host' | 'slot'
> {
  placeId: string | null;
}

/** What was called for a run: its adapter's own words. */
export interface Invocation extends Record<string, unknown> {
  readonly adapterType: string;
  /** When, as ISO 8601; where that is not when its process started. */
  readonly at?: string;
}

/** What a run was told when it was woken and placed; grows while it is queued. */
export interface ContextSnapshot extends Record<string, unknown> {
  wakeReason?: string | null;
  wakeReasons?: string[];
  issueId?: string;
  commentId?: string;
  wakeCommentIds?: string[];
  paperclipEnvironment?: {
    id: string;
    name: string;
    driver: string;
    leaseId: string;
    fencingToken: number;
    /** Which reference it was chosen by. */
    decidedBy?: DecidedBy;
    workspace?: { id: string; cwd: string };
  };
}

const HeartbeatRunSchema = defineEntity({
  name: 'HeartbeatRun',
  tableName: 'heartbeat_runs',
  properties: {
    id: idColumn(),
    companyId: p.uuid(),
    agentId: p.uuid(),
    issueId: p.uuid().nullable(),
    wakeupRequestId: p.uuid().nullable(),
    invocationSource: p.text().$type<InvocationSource>(),
    triggerDetail: p.text().$type<TriggerDetail>().nullable(),
    status: p.text().$type<RunStatus>(),
    dueAt: timeColumn().defaultRaw('now()'),
    claimErrors: p.integer().default(0),
    waitingReason: p.json<WaitingReason>().nullable(),
    /** Of runs of former builds in full. */
    placement: p.json<KeptPlacement | PlacementRecord>().nullable(),
    placedUnder: p
      .json<PlacedUnder>()
      .nullable()
      .formula(
        (columns) => `(select jsonb_build_object('environmentId', lease.environment_id, 'driver', lease.provider,
          'fencingToken', lease.fencing_token, 'host', lease.host, 'slot', lease.slot, 'placeId', lease.place_id)
          from environment_leases lease where lease.id = ${columns.leaseId})`,
      ),
    invocation: p.json<Invocation>().nullable(),
    contextSnapshot: objectColumn<ContextSnapshot>(),
    /** When somebody wished that it ends. */
    cancelRequestedAt: timeColumn().nullable(),
    /** When that takes effect; in the future where the wish leaves it a grace. */
    cancelAt: timeColumn().nullable(),
    /** As what it ends then. */
    cancelCode: p.text().$type<CancelCode>().nullable(),
    cancelReason: p.text().nullable(),
    deadlineAt: timeColumn().nullable(),
    idleTimeoutSec: p.integer().nullable(),
    leaseId: p.uuid().nullable(),
    runnerId: p.text().nullable(),
    tokenHash: p.blob().nullable(),
    /** To about a minute. */
    tokenLastUsedAt: timeColumn().nullable(),
    processPid: p.integer().nullable(),
    processGroupId: p.integer().nullable(),
    processStartedAt: timeColumn().nullable(),
    lastOutputAt: timeColumn().nullable(),
    logBytes: p.bigint('number').default(0),
    stdoutExcerpt: p.text().nullable(),
    stderrExcerpt: p.text().nullable(),
    exitCode: p.integer().nullable(),
    signal: p.text().nullable(),
    error: p.text().nullable(),
    errorCode: p.text().nullable(),
    usageJson: p.json<Record<string, unknown>>().nullable(),
    resultJson: p.json<Record<string, unknown>>().nullable(),
    issueCommentStatus: p
      .text()
      .$type<'not_applicable' | 'satisfied' | 'retry_queued' | 'retry_exhausted'>()
      .nullable(),
    retryOfRunId: p.uuid().nullable(),
    processLossRetryCount: p.integer().default(0),
    shutdownRetryCount: p.integer().default(0),
    scheduledRetryAt: timeColumn().nullable(),
    scheduledRetryAttempt: p.integer().default(0),
    scheduledRetryReason: p.text().nullable(),
    startedAt: timeColumn().nullable(),
    finishedAt: timeColumn().nullable(),
    createdAt: createdAtColumn(),
    updatedAt: updatedAtColumn(),
  },
});

/** One execution of one agent. Its transitions are set-based: see `claim-runs.ts`, `finalise-runs.ts`, `reap-leases.ts`. */
export class HeartbeatRun extends HeartbeatRunSchema.class {}
HeartbeatRunSchema.setClass(HeartbeatRun);
