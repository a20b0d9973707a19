import type { WaitingReason } from '../runs/heartbeat-run.entity.js';

/** Why a run is where it is, or why it is still waiting. */
export class PlacementResponse {
  runId: string;
  status: string;
  /** Where it runs or ran; null before it starts. */
  environment: Record<string, unknown> | null;
  leaseId: string | null;
  /** Which reference decides: `issue`, `workspace`, `agent`, `company`, or `default` for `Local`. */
  decidedBy: string;
  waitingReason: WaitingReason | null;
}

/** An issue that a run worked on. */
export class RunIssueResponse {
  id: string;
  issueId: string;
  identifier: string;
  title: string;
  status: string;
  priority: string;
  runStatus: string;
}
