import { ApiProperty } from '@nestjs/swagger';
import { Transform, Type } from 'class-transformer';
import { IsBoolean, IsIn, IsInt, IsOptional, IsString, IsUUID, Max, MaxLength, Min } from 'class-validator';
import { IfGiven } from '../../http/if-given.js';
import { CursorQueryDto } from '../../http/page-query.dto.js';
import {
  INVOCATION_SOURCES,
  RUN_STATUSES,
  TRIGGER_DETAILS,
  type ContextSnapshot,
  type InvocationSource,
  type RunStatus,
  type TriggerDetail,
  type WaitingReason,
} from '../runs/heartbeat-run.entity.js';
import { resultOf } from '../runs/run-outcome.js';
import { MAX_RUNS, type FullRunRow, type RunRow } from '../runs/runs.service.js';
import { toldContextOf } from '../runs/told-context.js';

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

export class CancelRunDto {
  /** Why, for the record. */
  @IsOptional()
  @IsString()
  @MaxLength(500)
  reason?: string | null;
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
  /** When its token was last shown, to about a minute. */
  tokenLastUsedAt: Date | null;
  cancelRequestedAt: Date | null;
  /** When that takes effect; in the future where it was revoked with a grace. */
  cancelAt: Date | null;
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

  static from(run: RunRow): RunRowResponse {
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
      tokenLastUsedAt: run.tokenLastUsedAt ?? null,
      cancelRequestedAt: run.cancelRequestedAt ?? null,
      cancelAt: run.cancelAt ?? null,
      retryOfRunId: run.retryOfRunId ?? null,
      processLossRetryCount: run.processLossRetryCount,
      scheduledRetryAt: run.scheduledRetryAt ?? null,
      scheduledRetryAttempt: run.scheduledRetryAttempt,
      scheduledRetryReason: run.scheduledRetryReason ?? null,
      issueCommentStatus: run.issueCommentStatus ?? null,
      waitingReason: run.startedAt ? null : (run.waitingReason ?? null),
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

  static override from(run: FullRunRow): RunResponse {
    return {
      ...RunRowResponse.from(run),
      contextSnapshot: toldContextOf(run),
      resultJson: resultOf(run),
      stdoutExcerpt: run.stdoutExcerpt ?? null,
      stderrExcerpt: run.stderrExcerpt ?? null,
    };
  }
}
