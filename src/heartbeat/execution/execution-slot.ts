import type { ClaimedRun } from '../runs/claimed-run.js';

/** What one dispatch of `heartbeat.execute` is about: a free slot, and the run that the interceptor put into it. */
export class ExecutionSlot {
  private filledWith: ClaimedRun | null = null;

  /** @param onFilled told when there was something to execute, long before it has ended. */
  constructor(private readonly onFilled: () => void = () => undefined) {}

  get run(): ClaimedRun | null {
    return this.filledWith;
  }

  fill(run: ClaimedRun): void {
    this.filledWith = run;
    this.onFilled();
  }
}
