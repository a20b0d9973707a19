import { EntityManager } from '@mikro-orm/postgresql';
import { inTransaction } from '../../src/database/transaction.js';
import { systemActor } from '../../src/events/actor.js';
import { runInScope } from '../../src/events/request-scope.js';
import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import { EndRuns } from '../../src/heartbeat/ending/end-runs.js';
import { Promotions } from '../../src/heartbeat/ending/promotions.js';
import { ProvisionService } from '../../src/heartbeat/claiming/provision.service.js';
import { ReapLeases } from '../../src/heartbeat/ending/reap-leases.js';
import { Reaper } from '../../src/heartbeat/ending/reaper.js';
import { failedOutcome, type RunOutcome } from '../../src/heartbeat/runs/run-outcome.js';
import { TerminalTransitions } from '../../src/heartbeat/ending/terminal-transitions.js';
import { Waits } from '../../src/heartbeat/waiting/waits.js';
import { PlaceSweeper } from '../../src/leases/places/place-sweeper.js';
import { Timers } from '../../src/heartbeat/wakes/timers.js';
import { RetentionSweeper } from '../../src/retention/retention-sweeper.js';
import { startTestApp, type TestApp, type TestAppOptions } from './test-app.js';

/** What a runner reports of an execution. */
export const outcome = {
  succeeded: (result?: string): RunOutcome => ({
    ...failedOutcome('', ''),
    status: 'succeeded',
    error: null,
    errorCode: null,
    resultJson: result === undefined ? null : { result },
  }),
  failed: (): RunOutcome => failedOutcome('exit_code', 'It ended with 1'),
  transient: (): RunOutcome => failedOutcome('transient_upstream', 'The other side answered 503'),
  shutDown: (): RunOutcome => failedOutcome('runner_shutdown', 'The runner was shut down'),
  timedOut: (): RunOutcome => ({ ...failedOutcome('timeout', 'Timed out after 5 seconds'), status: 'timed_out' }),
};

/** An application in which nothing happens by itself: it only serves the API, and recovers and times nothing. */
export async function startStillApp(options: TestAppOptions = {}): Promise<TestApp> {
  const app = await startTestApp({ ...options, config: { roles: new Set(['api']), ...options.config } });
  const loops = [app.get(Reaper), app.get(PlaceSweeper), app.get(Timers), app.get(Waits), app.get(RetentionSweeper)];
  await Promise.all(loops.map((loop) => loop.beforeApplicationShutdown()));
  return app;
}

/** Takes the steps of runners, reaper and timers in a still application, one at a time. Executes nothing. */
export class Steps {
  constructor(private readonly app: TestApp) {}

  /** Forgets every company and what belongs to it. */
  async clear(): Promise<void> {
    await this.app.database.query('truncate companies, activity_rows, idempotency_keys cascade');
  }

  /** One dispatch pass, for one free slot. */
  dispatch(): Promise<ClaimedRun | null> {
    return this.app.get(ProvisionService).provision();
  }

  /** @throws Error when there is nothing to start. */
  async started(): Promise<ClaimedRun> {
    const run = await this.dispatch();
    if (!run) throw new Error('There was nothing to start');
    return run;
  }

  /** @returns whether this ended the run: not when it had ended before, or its lease was lost. */
  async end(run: ClaimedRun, how: RunOutcome): Promise<boolean> {
    return (await this.endAll([run], how)) === 1;
  }

  /** Ends runs in one transaction. @returns how many. */
  endAll(runs: ClaimedRun[], how: RunOutcome): Promise<number> {
    const endRuns = this.app.get(EndRuns);
    return this.asRunner(async () => {
      const agents = await endRuns.lockOwnersOf(runs.map(({ id }) => id));
      return (
        await endRuns.endRunning(
          runs.map((run) => endOf(run, how)),
          agents,
        )
      ).length;
    });
  }

  /** Ends the run as a finaliser that never got to what follows from it. */
  async abandon(run: ClaimedRun, how: RunOutcome): Promise<void> {
    await this.asRunner(() => this.app.get(TerminalTransitions).endRunning([endOf(run, how)]));
  }

  /** The runner of these runs dies, and the reaper finds out. */
  async lose(...runs: ClaimedRun[]): Promise<void> {
    await this.app.database.query(
      `update environment_leases set acquired_at = acquired_at - interval '1 hour', expires_at = now() - interval '1 s'
       where id = any($1)`,
      [runs.map(({ lease }) => lease.id)],
    );
    await this.app.get(ReapLeases).reap();
  }

  sweep(): Promise<void> {
    return this.app.get(Promotions).sweep();
  }

  /** Every scheduled retry is due now. */
  async retriesAreDue(): Promise<void> {
    await this.app.database.query(
      `update heartbeat_runs set due_at = now() - interval '1 s', scheduled_retry_at = now() - interval '1 s'
       where status = 'scheduled_retry'`,
    );
  }

  /** Every timer is due now, and beats. */
  async timersBeat(): Promise<void> {
    await this.app.database.query(
      `update agents set next_timer_at = now() - interval '1 s' where next_timer_at is not null`,
    );
    await this.app.get(Timers).tick();
  }

  private asRunner<T>(work: () => Promise<T>): Promise<T> {
    const scope = { actor: systemActor('runner:test'), requestId: null };
    return runInScope(scope, () => inTransaction(this.app.get(EntityManager), work));
  }
}

const endOf = ({ id, lease }: ClaimedRun, how: RunOutcome) => ({
  runId: id,
  leaseId: lease.id,
  fencingToken: lease.fencingToken,
  outcome: how,
});
