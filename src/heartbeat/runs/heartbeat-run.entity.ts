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

/** Why a run went where it went, kept from its start on. */
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

/** What was called for a run: its adapter's own words, and when (ISO 8601). */
export interface Invocation extends Record<string, unknown> {
  readonly at: string;
  readonly adapterType: string;
  /** The name of the environment. */
  readonly environment: string;
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
    placement: p.json<PlacementRecord>().nullable(),
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
