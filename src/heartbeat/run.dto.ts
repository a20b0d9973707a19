import { ApiProperty } from '@nestjs/swagger';
import { Transform, Type } from 'class-transformer';
import { IsBoolean, IsIn, IsInt, IsObject, IsOptional, IsString, IsUUID, Max, MaxLength, Min } from 'class-validator';
import { IfGiven } from '../http/if-given.js';
import { IgnoresClientFields } from '../http/ignored-fields.js';
import { MaxJsonBytes } from '../http/max-json-bytes.js';
import { CursorQueryDto } from '../http/page-query.dto.js';
import type { HeartbeatRunEvent } from './heartbeat-run-event.entity.js';
import {
  INVOCATION_SOURCES,
  RUN_STATUSES,
  TRIGGER_DETAILS,
  type ContextSnapshot,
  type HeartbeatRun,
  type InvocationSource,
  type RunStatus,
  type TriggerDetail,
  type WaitingReason,
} from './heartbeat-run.entity.js';
import { MAX_RUNS } from './runs.service.js';

@IgnoresClientFields('wake')
export class WakeDto {
  /** What wakes the agent. */
  @IfGiven()
  @IsIn(INVOCATION_SOURCES)
  source?: InvocationSource;

  @IfGiven()
  @IsIn(TRIGGER_DETAILS)
  triggerDetail?: TriggerDetail;

  /** Why, in a word or a sentence; the agent's process reads it in `PAPERCLIP_WAKE_REASON`. */
  @IsOptional()
  @IsString()
  @MaxLength(500)
  reason?: string | null;

  /**
   * What the agent is told. `issueId` and `commentId` bind the wake to an issue; wakes without an issue but with the
   * same `taskKey` join one queued run.
   * @example { "issueId": "BER-12" }
   */
  @IsOptional()
  @IsObject()
  @MaxJsonBytes(65_536)
  payload?: Record<string, unknown> | null;

  /** Makes the wake safe to repeat, like the `Idempotency-Key` header. */
  @IsOptional()
  @IsString()
  @MaxLength(200)
  idempotencyKey?: string | null;

  /** Told to the agent: it shall not go on where it stopped. */
  @IfGiven()
  @IsBoolean()
  forceFreshSession?: boolean;
}

export class RunQueryDto extends CursorQueryDto {
  /** How many rows to answer at most. */
  @IfGiven()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(MAX_RUNS)
  limit?: number;

  @IfGiven()
  @IsUUID()
  agentId?: string;

  @IfGiven()
  @IsIn(RUN_STATUSES)
  status?: RunStatus;

  @IfGiven()
  @IsUUID()
  issueId?: string;

  /** Whether rows carry the large fields too: `contextSnapshot`, `resultJson`, excerpts. */
  @IfGiven()
  @Transform(({ value }: { value: unknown }) => (value === 'true' ? true : value === 'false' ? false : value))
  @IsBoolean()
  full?: boolean;
}

export class LiveRunQueryDto {
  /** How many rows to answer at most. */
  @IfGiven()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(200)
  limit?: number;

  /** Fill up with runs that ended last, if fewer are live. */
  @IfGiven()
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(200)
  minCount?: number;
}

export class RunEventQueryDto {
  /** Only what came after this `seq`. */
  @IfGiven()
  @Type(() => Number)
  @IsInt()
  @Min(0)
  afterSeq?: number;

  @IfGiven()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(1000)
  limit?: number;
}

export class RunLogQueryDto {
  /** Where to begin, in bytes of all that the run has written. */
  @IfGiven()
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  offset?: number;

  /** About how much to answer; whole lines, at least one. */
  @IfGiven()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(1_048_576)
  limitBytes?: number;
}

export class CancelRunDto {
  /** Why, for the record. */
  @IsOptional()
  @IsString()
  @MaxLength(500)
  reason?: string | null;
}

export class RunLogResponse {
  runId: string;
  /** Where the log is kept. */
  store: string;
  logRef: string;
  /** One JSON object a line: `{ ts, stream: stdout|stderr|system, chunk }`. */
  content: string;
  /** Where to go on. */
  nextOffset: number;
}

/** What every row of a list of runs says. */
export class RunRowResponse {
  id: string;
  companyId: string;
  agentId: string;
  issueId: string | null;
  @ApiProperty({ enum: INVOCATION_SOURCES })
  invocationSource: InvocationSource;
  @ApiProperty({ enum: TRIGGER_DETAILS, nullable: true })
  triggerDetail: TriggerDetail | null;
  @ApiProperty({ enum: RUN_STATUSES })
  status: RunStatus;
  startedAt: Date | null;
  finishedAt: Date | null;
  /** Why it did not succeed, as a sentence. */
  error: string | null;
  /** The same as a stable code. */
  errorCode: string | null;
  wakeupRequestId: string | null;
  exitCode: number | null;
  signal: string | null;
  usageJson: Record<string, unknown> | null;
  /** Bytes that it has written, kept or not. */
  logBytes: number;
  processPid: number | null;
  processGroupId: number | null;
  processStartedAt: Date | null;
  lastOutputAt: Date | null;
  cancelRequestedAt: Date | null;
  retryOfRunId: string | null;
  processLossRetryCount: number;
  scheduledRetryAt: Date | null;
  scheduledRetryAttempt: number;
  scheduledRetryReason: string | null;
  issueCommentStatus: string | null;
  /** Why it has not started yet: `code`, `message` and what it waits on. */
  waitingReason: WaitingReason | null;
  runnerId: string | null;
  createdAt: Date;
  updatedAt: Date;

  static from(run: HeartbeatRun): RunRowResponse {
    return {
      id: run.id,
      companyId: run.companyId,
      agentId: run.agentId,
      issueId: run.issueId ?? null,
      invocationSource: run.invocationSource,
      triggerDetail: run.triggerDetail ?? null,
      status: run.status,
      startedAt: run.startedAt ?? null,
      finishedAt: run.finishedAt ?? null,
      error: run.error ?? null,
      errorCode: run.errorCode ?? null,
      wakeupRequestId: run.wakeupRequestId ?? null,
      exitCode: run.exitCode ?? null,
      signal: run.signal ?? null,
      usageJson: run.usageJson ?? null,
      logBytes: run.logBytes,
      processPid: run.processPid ?? null,
      processGroupId: run.processGroupId ?? null,
      processStartedAt: run.processStartedAt ?? null,
      lastOutputAt: run.lastOutputAt ?? null,
      cancelRequestedAt: run.cancelRequestedAt ?? null,
      retryOfRunId: run.retryOfRunId ?? null,
      processLossRetryCount: run.processLossRetryCount,
      scheduledRetryAt: run.scheduledRetryAt ?? null,
      scheduledRetryAttempt: run.scheduledRetryAttempt,
      scheduledRetryReason: run.scheduledRetryReason ?? null,
      issueCommentStatus: run.issueCommentStatus ?? null,
      waitingReason: run.waitingReason ?? null,
      runnerId: run.runnerId ?? null,
      createdAt: run.createdAt,
      updatedAt: run.updatedAt,
    };
  }
}

/** A run with its large fields. */
export class RunResponse extends RunRowResponse {
  /** What it was told, and where it was placed. */
  contextSnapshot: ContextSnapshot;
  resultJson: Record<string, unknown> | null;
  /** The end of what it wrote. */
  stdoutExcerpt: string | null;
  stderrExcerpt: string | null;

  static override from(run: HeartbeatRun): RunResponse {
    return {
      ...RunRowResponse.from(run),
      contextSnapshot: run.contextSnapshot,
      resultJson: run.resultJson ?? null,
      stdoutExcerpt: run.stdoutExcerpt ?? null,
      stderrExcerpt: run.stderrExcerpt ?? null,
    };
  }
}

/** What became of a wake, beside the run that it became, joined or waits for. */
export class WakeResponse {
  /** The run's id; absent when the wake was skipped. */
  id?: string;
  /** The run's status; `skipped` or `deferred_issue_execution` where the wake became no run. */
  status: string;
  /** Why it was skipped or deferred. */
  reason?: string | null;
  wakeupRequestId: string;
  /** `queued`, `coalesced`, `deferred_issue_execution` or `skipped`. */
  wakeStatus: string;
}

export class RunEventResponse {
  id: string;
  runId: string;
  agentId: string;
  companyId: string;
  /** Rises within the run. */
  seq: number;
  eventType: string;
  stream: string | null;
  level: string;
  message: string | null;
  payload: Record<string, unknown> | null;
  createdAt: Date;

  static from(event: HeartbeatRunEvent): RunEventResponse {
    return {
      id: event.id,
      runId: event.runId,
      agentId: event.agentId,
      companyId: event.companyId,
      seq: event.seq,
      eventType: event.eventType,
      stream: event.stream ?? null,
      level: event.level,
      message: event.message ?? null,
      payload: event.payload ?? null,
      createdAt: event.createdAt,
    };
  }
}

/** An issue that a run worked on. */
export class RunIssueResponse {
  id: string;
  issueId: string;
  identifier: string;
  title: string;
  status: string;
  priority: string;
  runStatus: string;
}

/** Why a run is where it is, or why it is still waiting. */
export class PlacementResponse {
  runId: string;
  status: string;
  /** Where it runs or ran; null before it starts. */
  environment: Record<string, unknown> | null;
  leaseId: string | null;
  /** Which reference decides: `issue`, `workspace`, `agent`, `company`, or `default` for `Local`. */
  decidedBy: string;
  waitingReason: WaitingReason | null;
}
