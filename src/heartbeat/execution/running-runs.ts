import { Injectable } from '@nestjs/common';
import { bootClock } from '../../environments/drivers/guard/boot-clock.js';
import { Guards } from '../../environments/drivers/guard/guards.js';
import type { ClaimedRun } from '../runs/claimed-run.js';

/** Why a run's execution is stopped before it ended by itself. */
export type StopReason =
  'cancelled' | 'timed_out' | 'idle_timed_out' | 'lease_lifetime' | 'lease_lost' | 'runner_shutdown';

interface Running {
  readonly run: ClaimedRun;
  readonly abort: AbortController;
  /** When the lease runs out, in milliseconds of the boot clock. */
  deadline: number;
  /** Ends the execution then; it waits for no answer of the database, which may never come. */
  timer: NodeJS.Timeout | undefined;
}

/** The runs that this process is executing now, from claim to recorded end. */
@Injectable()
export class RunningRuns {
  private readonly byId = new Map<string, Running>();
  /** No lease that can still be counted on runs out before, in milliseconds of the boot clock. */
  private soonest = Infinity;

  constructor(private readonly guards: Guards) {}

  add(run: ClaimedRun): void {
    const running = { run, abort: new AbortController(), deadline: run.deadline, timer: undefined };
    this.byId.set(run.id, running);
    this.soonest = Math.min(this.soonest, run.deadline);
    this.stopAtDeadline(running);
  }

  /** What stops the execution; its `reason` is a `StopReason`. */
  signalOf(run: ClaimedRun): AbortSignal {
    return this.byId.get(run.id)!.abort.signal;
  }

  /** How long the lease can still be counted on if it is not renewed, in milliseconds. */
  msLeft(run: ClaimedRun): number {
    const now = bootClock();
    return this.isLost(run, now) ? 0 : this.deadlineOf(run) - now;
  }

  /** When the lease runs out if it is not renewed, in milliseconds of the boot clock. */
  deadlineOf(run: ClaimedRun): number {
    return this.byId.get(run.id)?.deadline ?? run.deadline;
  }

  remove(run: ClaimedRun): void {
    clearTimeout(this.byId.get(run.id)?.timer);
    this.byId.delete(run.id);
  }

  all(): ClaimedRun[] {
    return [...this.byId.values()].map(({ run }) => run);
  }

  /**
   * The runs whose leases can still be counted on, once any of these leases runs out by then; nobody before. Looks at them
   * no more often than that can have changed.
   */
  heldOnceDue(by: number): ClaimedRun[] {
    if (this.soonest > by) return [];
    const now = bootClock();
    const held = this.all().filter((run) => !this.isLost(run, now));
    this.soonest = held.reduce((soonest, run) => Math.min(soonest, this.deadlineOf(run)), Infinity);
    return this.soonest > by ? [] : held;
  }

  /** The first reason stands. */
  stop(runId: string, reason: StopReason): void {
    this.byId.get(runId)?.abort.abort(reason);
  }

  /** A renewal of their leases that was sent at `deadline - ttl` has been confirmed. */
  extend(runs: readonly ClaimedRun[], deadline: number): void {
    const deadlines = new Map<string, number>();
    for (const { id, lease } of runs) {
      const running = this.byId.get(id);
      if (!running) continue;
      running.deadline = Math.max(running.deadline, deadline);
      deadlines.set(lease.id, running.deadline);
    }
    this.guards.extend(deadlines);
  }

  /**
   * Whether the lease cannot be counted on any more: reported lost, or past its deadline without a renewal.
   * @param now by the boot clock. Reading that takes longer than the rest: who asks about many reads it once.
   */
  isLost(run: ClaimedRun, now = bootClock()): boolean {
    const running = this.byId.get(run.id);
    return !running || running.abort.signal.reason === 'lease_lost' || now >= running.deadline;
  }

  /** A renewal sets no timer: the one that there is looks again. */
  private stopAtDeadline(running: Running): void {
    const onTime = () => {
      if (bootClock() < running.deadline) this.stopAtDeadline(running);
      else this.stop(running.run.id, 'lease_lost');
    };
    running.timer = setTimeout(onTime, running.deadline - bootClock());
  }
}
