import type { HeartbeatRun, InvocationSource, TriggerDetail } from '../runs/heartbeat-run.entity.js';

/** A wish that an agent runs. */
export interface Wake {
  readonly agentId: string;
  readonly source: InvocationSource;
  readonly triggerDetail: TriggerDetail | null;
  readonly reason: string | null;
  /** `issueId` and `commentId` bind it to an issue. */
  readonly payload: Record<string, unknown>;
}

/** What became of a wake. `runId` is the run it became, joined or waits for. */
export interface WakeAnswer {
  readonly wakeupRequestId: string;
  readonly status: 'queued' | 'coalesced' | 'deferred_issue_execution' | 'skipped';
  readonly reason: string | null;
  readonly runId: string | null;
  /** The run itself, where the wake became it. */
  readonly run?: HeartbeatRun;
}
