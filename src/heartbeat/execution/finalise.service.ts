import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { Coalescer } from '../../database/coalescer.js';
import { isConnectionLost } from '../../database/database-errors.js';
import { inTransaction } from '../../database/transaction.js';
import { systemActor } from '../../events/actor.js';
import { runInScope } from '../../events/request-scope.js';
import { LeaseLostError } from '../../leases/lease-errors.js';
import type { ClaimedRun } from '../runs/claimed-run.js';
import { EndRuns } from '../ending/end-runs.js';
import { ReadBack } from '../claiming/read-back.js';
import { failedOutcome, type RunOutcome } from '../runs/run-outcome.js';
import { RunRedactors } from '../secrets/run-redactors.js';
import { RunningRuns } from './running-runs.js';
import { RunnerIdentity } from '../runs/runner-identity.js';
import type { RunEnd } from '../ending/terminal-transitions.js';

/** Between attempts, in milliseconds. */
const PAUSE_MS = 250;
/** Errors other than a lost connection after which an outcome counts as one that cannot be stored. */
const MAX_ERRORS = 5;
/** Errors after which the rest of its log counts as what cannot be stored. */
const MAX_ERRORS_WITH_LOG = 3;

/** Records how executed runs ended, as their holder. Runs that end together share one transaction. */
@Injectable()
export class FinaliseService {
  private readonly logger = new Logger(FinaliseService.name);
  private readonly ends = new Coalescer<{ run: ClaimedRun; outcome: RunOutcome }, true>(
    (batch) => this.endBatch(batch),
    (error) => !isConnectionLost(error),
  );

  constructor(
    private readonly em: EntityManager,
    private readonly endRuns: EndRuns,
    private readonly readBack: ReadBack,
    private readonly running: RunningRuns,
    private readonly redactors: RunRedactors,
    private readonly identity: RunnerIdentity,
  ) {}

  /**
   * Ends run and lease together, and stores the rest of the log with that. Tries until it is committed or the lease is
   * lost: renewals go on meanwhile. A log, and then an outcome, that the database keeps refusing is given up; the outcome for
   * one that says so. What the run must not show is not in it.
   * @throws LeaseLostError when somebody else ended the run, or the lease ran out before the end could be recorded.
   */
  async finalise(run: ClaimedRun, outcome: RunOutcome): Promise<void> {
    const { log, ...facts } = outcome;
    let sent: RunOutcome = { ...this.redactors.of(run).json(facts), log };
    for (let attempt = 0, errors = 0; ; attempt++) {
      try {
        // Whether the attempt before was committed is only known by looking.
        if (attempt > 0 && (await this.readBack.ended(run))) return;
        await this.ends.run({ run, outcome: sent });
        return;
      } catch (error) {
        if (error instanceof LeaseLostError) throw error;
        if (this.running.isLost(run)) throw new LeaseLostError(run.lease.id);
        if (!isConnectionLost(error)) errors += 1;
        if (errors > MAX_ERRORS) throw error;
        if (errors === MAX_ERRORS_WITH_LOG && sent.log) {
          this.logger.error({ runId: run.id }, 'The end of a log could not be stored');
          sent = { ...sent, log: null };
        }
        if (errors === MAX_ERRORS) sent = failedOutcome('finalise_failed', 'The end of the run could not be recorded');
        this.logger.warn({ err: error, runId: run.id, errors }, 'The end of a run could not be recorded yet');
        await delay(PAUSE_MS);
      }
    }
  }

  private endBatch(batch: { run: ClaimedRun; outcome: RunOutcome }[]): Promise<(true | LeaseLostError)[]> {
    return runInScope({ actor: systemActor(`runner:${this.identity.id}`), requestId: null }, () =>
      inTransaction(this.em, async () => {
        const agents = this.endRuns.lockOwners(
          batch.map(({ run: { agentId, issueId }, outcome }) => {
            return { agentId, issueId, succeeds: outcome.status === 'succeeded' };
          }),
        );
        const ended = await this.endRuns.endRunning(batch.map(endOf), agents);
        const ids = new Set(ended.map(({ id }) => id));
        return batch.map(({ run }) => ids.has(run.id) || new LeaseLostError(run.lease.id));
      }),
    );
  }
}

const endOf = ({ run: { id, lease }, outcome }: { run: ClaimedRun; outcome: RunOutcome }): RunEnd => ({
  runId: id,
  leaseId: lease.id,
  fencingToken: lease.fencingToken,
  outcome,
});
