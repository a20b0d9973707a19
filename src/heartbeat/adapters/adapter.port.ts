import type { Command, CommandResult } from '../../environments/drivers/environment-driver.port.js';

/** What one run gives its adapter to work with. */
export interface AdapterContext {
  readonly runId: string;
  readonly agentId: string;
  readonly companyId: string;
  /** The agent's `adapterConfig` as it was when the run started. */
  readonly config: Record<string, unknown>;
  /** What the run was told: wake reason, issue, comments, environment. */
  readonly contextSnapshot: Record<string, unknown>;
  /** The whole environment for a child process: allow-listed base, the environment's and agent's own, Berth's variables. */
  readonly env: Readonly<Record<string, string>>;
  /** Aborted when the run shall end: cancelled, lease lost, runner shutting down. */
  readonly signal: AbortSignal;
  /** The end of what commands have written to stdout so far (64 KiB), or null. */
  stdoutEnd(): string | null;
  /** Says what the adapter calls, as soon as it does, where that is not a command. Never a secret. */
  invoked(details: Record<string, unknown>): void;
  /** Runs a command in the leased place. Output goes to the run's log; adapters never spawn by themselves. */
  execute(command: Pick<Command, 'program' | 'args' | 'env' | 'cwd' | 'graceMs' | 'signal'>): Promise<CommandResult>;
  /** Adds to the run's log. */
  log(stream: 'stdout' | 'stderr' | 'system', chunk: Buffer | string): void | Promise<void>;
}

/** How an execution ended, as far as its adapter can tell. An abort by `signal` is judged by the caller, not here. */
export interface AdapterResult {
  readonly outcome: 'succeeded' | 'failed' | 'timed_out';
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** A sentence for a person; set unless succeeded. */
  readonly error: string | null;
  /** Stable code of that error, for example `adapter_failed`, `timeout`. */
  readonly errorCode: string | null;
  readonly resultJson: Record<string, unknown> | null;
  readonly usageJson: Record<string, unknown> | null;
  /** With the error code `transient_upstream`: no retry before this time, ISO 8601. */
  readonly retryNotBefore?: string | null;
}

/** How long an execution may take. */
export interface ExecutionLimits {
  /** From its start, in seconds. */
  readonly timeoutSec: number;
  /** Without output, in seconds; null for as long as it takes. */
  readonly idleTimeoutSec: number | null;
}

/** Knows *what*: how an agent of one type is executed. */
export interface Adapter {
  readonly type: string;

  /** @throws InvalidInputError naming each field that is wrong. */
  validateConfig(config: Record<string, unknown>): void;

  /** The limits that the run is held to by its runner; for a config that was validated. */
  limits(config: Record<string, unknown>): ExecutionLimits;

  /** Runs to its end and says how it went. What it throws fails the run as `adapter_failed`. */
  execute(context: AdapterContext): Promise<AdapterResult>;
}
