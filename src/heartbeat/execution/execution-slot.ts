import type { ClaimedRun } from '../runs/claimed-run.js';

/** What one dispatch of `heartbeat.execute` is about: a free slot, and the run that the interceptor put into it. */
export class ExecutionSlot {
  run: ClaimedRun | null = null;
}
