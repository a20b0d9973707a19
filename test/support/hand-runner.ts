import { ClaimRuns } from '../../src/heartbeat/claiming/claim-runs.js';
import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import { FinaliseService } from '../../src/heartbeat/execution/finalise.service.js';
import { Gate, type Candidate } from '../../src/heartbeat/claiming/gate.js';
import { ReapLeases } from '../../src/heartbeat/ending/reap-leases.js';
import { failedOutcome, type RunOutcome } from '../../src/heartbeat/runs/run-outcome.js';
import { eventually } from './eventually.js';
import type { TestApp } from './test-app.js';

const ALL = 1000;

/** What executions come to. */
export const OUTCOMES = {
  succeeded: { ...failedOutcome('', ''), status: 'succeeded', error: null, errorCode: null },
  failed: failedOutcome('adapter_failed', 'Exited with code 1'),
  transient: failedOutcome('transient_upstream', 'The model is overloaded'),
  shutdown: failedOutcome('runner_shutdown', 'The runner was shut down'),
} satisfies Record<string, RunOutcome>;

/** A run's row, as far as tests look at it. */
export interface RunRow {
  id: string;
  status: string;
  error_code: string | null;
  scheduled_retry_at: Date | null;
  scheduled_retry_reason: string | null;
  scheduled_retry_attempt: number;
  process_loss_retry_count: number;
  shutdown_retry_count: number;
  finished_at: Date | null;
  cancel_requested_at: Date | null;
}

/**
 * A runner in a test's hands: it starts and ends runs through the real gate and finaliser, at the moment that the test
 * chooses, without executing anything. For an application that does not execute runs itself.
 */
export class HandRunner {
  constructor(private readonly app: TestApp) {}

  /** Starts one of the agent's runs that may start; null when none may. */
  async start(agentId: string): Promise<ClaimedRun | null> {
    return this.claim(await this.look(agentId));
  }

  /** The first half of a start: what may start as far as can be seen without locks. */
  async look(agentId: string): Promise<Candidate[]> {
    return (await this.app.get(Gate).candidates(ALL)).candidates.filter((one) => one.agentId === agentId);
  }

  /** The other half, which decides again under locks. */
  async claim(seen: Candidate[]): Promise<ClaimedRun | null> {
    const [run] = await this.app.get(ClaimRuns).claim(seen, 1);
    return run ?? null;
  }

  /** The same, of an agent that has one. */
  async started(agentId: string): Promise<ClaimedRun> {
    const run = await this.start(agentId);
    if (!run) throw new Error('No run of the agent may start');
    return run;
  }

  end(run: ClaimedRun, outcome: RunOutcome = OUTCOMES.succeeded): Promise<void> {
    return this.app.get(FinaliseService).finalise(run, outcome);
  }

  /** Lets the run's lease run out, as if its runner had died, and waits until that is noticed. */
  async lose(run: ClaimedRun): Promise<void> {
    const expire = `update environment_leases set expires_at = acquired_at + interval '1 ms' where id = $1`;
    await this.app.database.query(expire, [run.lease.id]);
    await this.app.get(ReapLeases).reap();
    await eventually(
      () => this.row(run.id),
      ({ status }) => status !== 'running',
    );
  }

  /** The agent's next run fails for a reason that will pass; @returns its retry. */
  async failTransiently(agentId: string): Promise<RunRow> {
    const run = await this.started(agentId);
    await this.end(run, OUTCOMES.transient);
    const [retry] = await this.successorsOf(run.id);
    return retry;
  }

  async row(runId: string): Promise<RunRow> {
    const [row] = await this.app.database.query<RunRow>('select * from heartbeat_runs where id = $1', [runId]);
    return row;
  }

  successorsOf(runId: string): Promise<RunRow[]> {
    return this.app.database.query<RunRow>('select * from heartbeat_runs where retry_of_run_id = $1', [runId]);
  }

  /** The clock moves on until the scheduled retry is due. */
  async makeDue(runId: string): Promise<void> {
    const due = `update heartbeat_runs set due_at = now(), scheduled_retry_at = now() where id = $1`;
    await this.app.database.query(due, [runId]);
  }
}

/** Whether there is such a process. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
