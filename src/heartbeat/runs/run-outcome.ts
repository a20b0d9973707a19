import { isDeepStrictEqual } from 'node:util';
import type { LeaseStatus } from '../../leases/environment-lease.entity.js';
import type { LogBatch } from '../logs/log-buffer.js';
import type { HeartbeatRun, Invocation, TerminalRunStatus } from './heartbeat-run.entity.js';

/** How an execution ended, as its runner saw it. A cancel wish in the database overrides the status. */
export interface RunOutcome {
  readonly status: TerminalRunStatus;
  /** A sentence for a person; set for `failed` and `timed_out`. */
  readonly error: string | null;
  /** Stable code of that error. */
  readonly errorCode: string | null;
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly resultJson: Record<string, unknown> | null;
  readonly usageJson: Record<string, unknown> | null;
  readonly stdoutExcerpt: string | null;
  readonly stderrExcerpt: string | null;
  /** With `transient_upstream`: no retry before this time, ISO 8601. */
  readonly retryNotBefore: string | null;
  /** What was called, where that has not been written yet. */
  readonly invoked: Invoked | null;
  /** The rest of its log, where that has not been stored yet. */
  readonly log: LogBatch | null;
}

/** What a run's execution called, and which process that became, as the run's row keeps it. */
export interface Invoked {
  readonly invocation: Invocation;
  readonly processPid: number | null;
  readonly processGroupId: number | null;
  /** ISO 8601. */
  readonly processStartedAt: string | null;
}

/** An outcome with nothing but its reason. */
export function failedOutcome(errorCode: string, error: string): RunOutcome {
  return { ...EMPTY, status: 'failed', error, errorCode };
}

/** A result as it is kept: not one that only repeats how the process ended. */
export function keptResult({ resultJson, exitCode, signal }: Pick<RunOutcome, 'resultJson' | 'exitCode' | 'signal'>) {
  return isDeepStrictEqual(resultJson, { exitCode, signal }) ? null : resultJson;
}

/** The result of a run: of one that reported nothing, how its process ended. */
export function resultOf({
  resultJson,
  exitCode,
  signal,
}: Pick<HeartbeatRun, 'resultJson' | 'exitCode' | 'signal'>): Record<string, unknown> | null {
  if (resultJson || (exitCode == null && signal == null)) return resultJson ?? null;
  return { exitCode: exitCode ?? null, signal: signal ?? null };
}

const EMPTY = {
  exitCode: null,
  signal: null,
  resultJson: null,
  usageJson: null,
  stdoutExcerpt: null,
  stderrExcerpt: null,
  retryNotBefore: null,
  invoked: null,
  log: null,
} as const;

/** How a run's lease ends, by how the run ended. */
export function leaseStatusFor(status: TerminalRunStatus, errorCode: string | null): Exclude<LeaseStatus, 'active'> {
  switch (status) {
    case 'succeeded':
    case 'cancelled':
      return 'released';
    case 'timed_out':
      return 'failed';
    case 'failed':
      if (errorCode === 'process_lost') return 'expired';
      return errorCode === 'runner_shutdown' ? 'released' : 'failed';
  }
}
