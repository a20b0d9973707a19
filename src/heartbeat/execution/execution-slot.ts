import type { ClaimedRun } from '../runs/claimed-run.js';

/** What one dispatch of `heartbeat.execute` is about: a free slot, and the run that the interceptor put into it. */
export class ExecutionSlot {
  private filledWith: ClaimedRun | null = null;

  /** @param onMore told when there was something to execute and may be more of it, long before that has ended. */
  constructor(private readonly onMore: () => void = () => undefined) {}

  get run(): ClaimedRun | null {
    return this.filledWith;
  }

  fill(run: ClaimedRun, mayHaveMore: boolean): void {
    this.filledWith = run;
    if (mayHaveMore) this.onMore();
  }
}
