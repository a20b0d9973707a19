import { Injectable, Logger } from '@nestjs/common';
import { BerthConfig } from '../../config/config.js';
import { DriverRegistry } from '../../environments/drivers/driver-registry.js';
import { DriverFailedError } from '../../environments/drivers/driver-errors.js';
import type { EnvironmentDriver, RealisedPlace } from '../../environments/drivers/environment-driver.port.js';
import { DomainError } from '../../errors/domain-error.js';
import { LeaseLostError } from '../../leases/lease-errors.js';
import type { AdapterContext, AdapterResult, ExecutionLimits } from '../adapters/adapter.port.js';
import { AdapterRegistry } from '../adapters/adapter-registry.js';
import { childEnvironment } from '../adapters/child-environment.js';
import type { ClaimedRun } from '../runs/claimed-run.js';
import type { ExecutionSlot } from './execution-slot.js';
import { InvocationRecorder } from './invocation-recorder.js';
import type { LogBatch } from '../logs/log-buffer.js';
import type { RunLogWriter } from '../logs/run-log-writer.js';
import { RunLogs } from '../logs/run-logs.js';
import { failedOutcome, keptResult, type RunOutcome } from '../runs/run-outcome.js';
import { RunnerIdentity, runnerName } from '../runs/runner-identity.js';
import { RunRedactors } from '../secrets/run-redactors.js';
import { RunSecrets } from '../secrets/run-secrets.js';
import { RealisePlace } from './realise-place.js';
import { RunningRuns, type StopReason } from './running-runs.js';
import { WakePayloads } from '../wakes/wake-payloads.js';

/** Executes a claimed run in its leased place, for seconds or hours, outside any transaction. */
@Injectable()
export class ExecuteRun {
  private readonly logger = new Logger(ExecuteRun.name);
  /** A copy: the process's own variables are asked of the system one by one. */
  private readonly server = { ...process.env };

  constructor(
    private readonly drivers: DriverRegistry,
    private readonly places: RealisePlace,
    private readonly adapters: AdapterRegistry,
    private readonly logs: RunLogs,
    private readonly running: RunningRuns,
    private readonly invocations: InvocationRecorder,
    private readonly payloads: WakePayloads,
    private readonly secrets: RunSecrets,
    private readonly redactors: RunRedactors,
    private readonly identity: RunnerIdentity,
    private readonly config: BerthConfig,
  ) {}

  /** @returns how it went, with what is not stored of its log by then. */
  async execute(slot: ExecutionSlot): Promise<RunOutcome> {
    const claimed = slot.run!;
    const signal = this.running.signalOf(claimed);
    let run: ClaimedRun;
    try {
      run = await this.secrets.reveal(claimed);
    } catch (error) {
      return failedOutcome(error instanceof DomainError ? error.code : 'secrets_unavailable', messageOf(error));
    }
    return this.executeRevealed(run, signal);
  }

  private async executeRevealed(run: ClaimedRun, signal: AbortSignal): Promise<RunOutcome> {
    const { id: leaseId, fencingToken } = run.lease;
    const log = this.logs.open({ runId: run.id, leaseId, fencingToken }, this.redactors.of(run), signal);
    const { leaseMaxLifetimeSec } = this.config;
    const limits = { ...this.adapters.limitsOf(run.adapterType, run.adapterConfig), leaseMaxLifetimeSec };
    const runner = runnerName(this.identity.id, this.identity.host);
    const outcome = stoppedOutcome(await this.outcomeOf(run, log, signal), signal, limits, runner);
    const rest = await this.closeLog(run, log);
    const { stdoutExcerpt, stderrExcerpt } = log;
    return { ...outcome, stdoutExcerpt, stderrExcerpt, log: rest, invoked: this.invocations.take(run) };
  }

  private async outcomeOf(run: ClaimedRun, log: RunLogWriter, signal: AbortSignal): Promise<RunOutcome> {
    const driver = this.drivers.get(run.environment.driver);
    let place: RealisedPlace;
    try {
      place = await this.places.realise(run, driver);
    } catch (error) {
      return failedOutcome(error instanceof DomainError ? error.code : 'driver_failed', messageOf(error));
    }
    try {
      const result = await this.invoke(run, driver, place, log, signal);
      return fromAdapter(result);
    } catch (error) {
      return failedOutcome(error instanceof DriverFailedError ? error.code : 'adapter_failed', messageOf(error));
    }
  }

  private async invoke(
    run: ClaimedRun,
    driver: EnvironmentDriver,
    place: RealisedPlace,
    log: RunLogWriter,
    signal: AbortSignal,
  ): Promise<AdapterResult> {
    const { running } = this;
    const context: AdapterContext = {
      runId: run.id,
      agentId: run.agentId,
      companyId: run.companyId,
      config: run.adapterConfig,
      contextSnapshot: run.contextSnapshot,
      env: await this.environmentOf(run),
      signal,
      log: (stream, chunk) => log.write(stream, chunk),
      stdoutEnd: () => log.stdoutEnd,
      invoked: (details) => this.invocations.note(run, details, null),
      execute: (command) =>
        driver
          .execute(place, {
            ...command,
            lease: {
              id: run.lease.id,
              // Read when the command is started, which may have to wait for a guard.
              get deadline() {
                return running.deadlineOf(run);
              },
            },
            // Read when the command is to be ended, because its grace never reaches past the lease.
            get graceMs() {
              return Math.min(command.graceMs, running.msLeft(run));
            },
            onOutput: (stream, chunk) => log.write(stream, chunk),
            onSpawn: (child) => {
              const details = { command: command.program, commandArgs: command.args, cwd: command.cwd ?? place.cwd };
              this.invocations.note(run, details, child);
            },
          })
          .catch(asDriverFailure)
          .finally(() => log.settle()),
    };
    return this.adapters.get(run.adapterType).execute(context);
  }

  private async environmentOf(run: ClaimedRun): Promise<Record<string, string>> {
    const { contextSnapshot: context } = run;
    return childEnvironment({
      server: this.server,
      environment: run.environment,
      agent: { id: run.agentId, companyId: run.companyId, adapterConfig: run.adapterConfig },
      runId: run.id,
      leaseId: run.lease.id,
      apiUrl: this.config.publicUrl,
      apiKey: run.token,
      wake: {
        reason: context.wakeReason ?? null,
        issueId: run.issueId,
        commentId: context.wakeCommentIds?.at(-1) ?? null,
        payload: await this.payloads.of(run),
      },
      workspace: run.workspace,
    });
  }

  /** What cannot be stored does not hold the end up for ever. @returns what is to be stored with the end. */
  private async closeLog(run: ClaimedRun, log: RunLogWriter): Promise<LogBatch | null> {
    try {
      return await log.close(this.running.msLeft(run));
    } catch (error) {
      if (error instanceof LeaseLostError) this.running.stop(run.id, 'lease_lost');
      else this.logger.error({ err: error, runId: run.id }, 'The end of a log could not be stored');
      return null;
    }
  }
}

function fromAdapter({ outcome, retryNotBefore = null, ...result }: AdapterResult): RunOutcome {
  const nothingYet = { stdoutExcerpt: null, stderrExcerpt: null, invoked: null, log: null };
  return { ...result, resultJson: keptResult(result), status: outcome, retryNotBefore, ...nothingYet };
}

/** What an execution that was stopped comes to. A success in the face of a shutdown stands; a time limit is a limit. */
function stoppedOutcome(
  outcome: RunOutcome,
  signal: AbortSignal,
  limits: Partial<ExecutionLimits> & { leaseMaxLifetimeSec: number },
  runner: string,
): RunOutcome {
  if (!signal.aborted) return outcome;
  switch (signal.reason as StopReason) {
    case 'cancelled':
      // The wish is in the database: whoever records the end writes what it says.
      return { ...outcome, status: 'cancelled', error: 'Cancelled', errorCode: 'cancelled' };
    case 'runner_shutdown': {
      if (outcome.status === 'succeeded') return outcome;
      const error = `The ${runner} was shut down before the run had ended`;
      return { ...outcome, status: 'failed', error, errorCode: 'runner_shutdown' };
    }
    case 'timed_out': {
      const error = `Timed out after ${limits.timeoutSec} seconds`;
      return { ...outcome, status: 'timed_out', error, errorCode: 'timeout' };
    }
    case 'idle_timed_out': {
      const error = `Wrote nothing for ${limits.idleTimeoutSec} seconds`;
      return { ...outcome, status: 'timed_out', error, errorCode: 'idle_timeout' };
    }
    case 'lease_lifetime': {
      const error = `Its lease reached the ${limits.leaseMaxLifetimeSec} seconds past which none is renewed`;
      return { ...outcome, status: 'timed_out', error, errorCode: 'lease_lifetime' };
    }
    case 'lease_lost':
      return { ...outcome, status: 'failed', error: 'The lease was lost', errorCode: 'process_lost' };
  }
}

/** What breaks in the place is not the agent's fault, whichever adapter passes it on. */
function asDriverFailure(error: unknown): never {
  throw error instanceof DomainError ? error : new DriverFailedError(messageOf(error));
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
