import { Injectable, Logger } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { isConnectionLost, isDeadlock, isRefusedByDatabase } from '../../database/database-errors.js';
import { Coalescer } from '../../database/coalescer.js';
import { inTransaction } from '../../database/transaction.js';
import { systemActor } from '../../events/actor.js';
import { runInScope } from '../../events/request-scope.js';
import { SlotTakenError, WorkspaceOccupiedError } from '../../leases/lease-errors.js';
import { Metrics } from '../../metrics/metrics.js';
import { ClaimRuns } from './claim-runs.js';
import type { ClaimedRun } from '../runs/claimed-run.js';
import { EndRuns } from '../ending/end-runs.js';
import type { Candidate } from './gate.js';
import { Lookout } from './lookout.js';
import { Promotions } from '../ending/promotions.js';
import { AgentTurns } from '../runs/agent-turns.js';
import { RunnerIdentity } from '../runs/runner-identity.js';

/** Unexpected errors in a row after which a waiting run is failed. */
const MAX_CLAIM_ERRORS = 5;

/** How often at most issues are looked for that were freed and not passed on, in milliseconds. */
const SWEEP_EVERY_MS = 250;

/** Gives free slots their next runs. Slots that ask together are served by one transaction. */
@Injectable()
export class ProvisionService {
  private readonly logger = new Logger(ProvisionService.name);
  private sweepAt = 0;
  private more = true;
  private readonly slots: Coalescer<void, ClaimedRun | null>;

  constructor(
    private readonly em: EntityManager,
    private readonly lookout: Lookout,
    private readonly claims: ClaimRuns,
    private readonly endRuns: EndRuns,
    private readonly promotions: Promotions,
    private readonly identity: RunnerIdentity,
    private readonly metrics: Metrics,
    turns: AgentTurns,
  ) {
    this.slots = new Coalescer(
      (asking) => this.serve(asking.length),
      // A pass that failed is not repeated at once: it has been recorded, and the next pass comes by itself.
      () => false,
      { enter: () => turns.enter() },
    );
  }

  /** @returns the run that the slot shall execute, already running under its lease; null when there is nothing to do. */
  provision(): Promise<ClaimedRun | null> {
    return this.slots.run();
  }

  /** Whether more may be able to start than the slots that asked last have been given. */
  get mayHaveMore(): boolean {
    return this.more;
  }

  private serve(slots: number): Promise<(ClaimedRun | null)[]> {
    return runInScope({ actor: systemActor(`runner:${this.identity.id}`), requestId: null }, async () => {
      const claimed: ClaimedRun[] = [];
      try {
        await this.sweepNowAndThen();
        await this.fill(slots, claimed);
      } catch (error) {
        // What is running already has to be executed, whatever went wrong after it.
        if (claimed.length === 0) throw error;
        this.logger.warn({ err: error }, 'Some slots could not be filled');
      }
      return Array.from({ length: slots }, (_, slot) => claimed[slot] ?? null);
    });
  }

  /** Whoever freed an issue may have died before it let on what waits there. */
  private async sweepNowAndThen(): Promise<void> {
    if (performance.now() < this.sweepAt) return;
    await this.promotions.sweep();
    this.sweepAt = performance.now() + SWEEP_EVERY_MS;
  }

  /** Looks again while there may be more: candidates can be after the same room, and then not all of them get it. */
  private async fill(slots: number, claimed: ClaimedRun[]): Promise<void> {
    this.more = true;
    for (let again = true; again;) {
      const before = claimed.length;
      const free = slots - before;
      const { candidates, more, seenBefore } = await this.lookout.candidates(free);
      if (candidates.length > 0) await this.claim(candidates, slots, claimed);
      this.lookout.started(claimed.slice(before), free);
      again = claimed.length < slots && (seenBefore || (more && claimed.length > before));
      this.more = more || candidates.length > claimed.length - before;
    }
  }

  /** Claims together; where that fails, each alone, so that one bad run stops no other. */
  private async claim(candidates: readonly Candidate[], slots: number, claimed: ClaimedRun[]): Promise<void> {
    try {
      claimed.push(...(await this.claims.claim(candidates, slots - claimed.length)));
      return;
    } catch (error) {
      if (isConnectionLost(error)) throw error;
      if (candidates.length === 1) return this.setBack(candidates[0], error);
      if (!isRefusedByDatabase(error)) this.logger.error({ err: error }, 'A claim failed; each run is tried alone');
    }
    for (const candidate of candidates) {
      if (claimed.length < slots) await this.claim([candidate], slots, claimed);
    }
  }

  private async setBack(candidate: Candidate, error: unknown): Promise<void> {
    // Another process was faster, which is no fault of the run: the next pass looks again.
    if (error instanceof WorkspaceOccupiedError || error instanceof SlotTakenError || isDeadlock(error)) return;
    await this.recordError(candidate, error);
  }

  /** Keeps an unexpected error on the run that it concerns: later each time, and never for ever. */
  private async recordError(candidate: Candidate, error: unknown): Promise<void> {
    this.metrics.claimErrors.inc();
    this.logger.error({ err: error, runId: candidate.id }, 'A run could not be started');
    const message = `It could not be started: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`;
    await inTransaction(this.em, async () => {
      await this.endRuns.lockOwnersOf([candidate.id]);
      const [run] = await this.em.execute<{ claim_errors: number }[]>(
        `update heartbeat_runs set claim_errors = claim_errors + 1, updated_at = now(),
           due_at = clock_timestamp() + make_interval(secs => power(2, claim_errors)),
           waiting_reason = jsonb_build_object('code', 'claim_failed', 'message', ?::text, 'scope', null)
         where id = ? and status in ('queued', 'scheduled_retry') returning claim_errors`,
        [message, candidate.id],
      );
      if (run && run.claim_errors >= MAX_CLAIM_ERRORS) {
        await this.endRuns.endWaiting([{ runId: candidate.id, status: 'failed', code: 'claim_failed', message }]);
      }
    });
  }
}
