import { Injectable, Logger, type CallHandler, type ExecutionContext, type NestInterceptor } from '@nestjs/common';
import { from, lastValueFrom, type Observable } from 'rxjs';
import { LeaseLostError } from '../../leases/lease-errors.js';
import { Metrics } from '../../metrics/metrics.js';
import type { ClaimedRun } from '../runs/claimed-run.js';
import type { ExecutionSlot } from './execution-slot.js';
import { FinaliseService } from './finalise.service.js';
import { ProvisionService } from '../claiming/provision.service.js';
import { failedOutcome, type RunOutcome } from '../runs/run-outcome.js';
import { RunRedactors } from '../secrets/run-redactors.js';
import { RunningRuns } from './running-runs.js';

/** Puts every execution between its two transactions: run and lease begin together before it, and end together after. */
@Injectable()
export class EnvironmentLeaseInterceptor implements NestInterceptor {
  private readonly logger = new Logger(EnvironmentLeaseInterceptor.name);

  constructor(
    private readonly provision: ProvisionService,
    private readonly finalise: FinaliseService,
    private readonly running: RunningRuns,
    private readonly redactors: RunRedactors,
    private readonly metrics: Metrics,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler<RunOutcome>): Observable<void> {
    return from(this.around(context.getArgByIndex<ExecutionSlot>(1), next));
  }

  private async around(slot: ExecutionSlot, next: CallHandler<RunOutcome>): Promise<void> {
    const askedAt = performance.now();
    const run = await this.provision.provision();
    if (!run) return;
    this.metrics.provision.observe(secondsSince(askedAt));
    this.metrics.wait.observe(run.waitedSec);
    this.running.add(run);
    slot.fill(run, this.provision.mayHaveMore);
    try {
      await this.end(run, await this.outcomeOf(run, next));
    } finally {
      this.running.remove(run);
      this.redactors.forget(run.id);
    }
  }

  private async outcomeOf(run: ClaimedRun, next: CallHandler<RunOutcome>): Promise<RunOutcome> {
    try {
      return await lastValueFrom(next.handle());
    } catch (error) {
      this.logger.error({ err: error, runId: run.id }, 'An execution threw');
      return failedOutcome('execution_failed', error instanceof Error ? error.message : String(error));
    }
  }

  private async end(run: ClaimedRun, outcome: RunOutcome): Promise<void> {
    const endedAt = performance.now();
    try {
      await this.finalise.finalise(run, outcome);
      this.metrics.finalise.observe(secondsSince(endedAt));
    } catch (error) {
      if (!(error instanceof LeaseLostError)) throw error;
      this.logger.warn(
        { runId: run.id, leaseId: run.lease.id },
        'The lease of a run was lost; its end is not ours to record',
      );
    }
  }
}

const secondsSince = (at: number) => (performance.now() - at) / 1000;
