import { ApiProperty } from '@nestjs/swagger';
import type { PlacementRecord, WaitingReason } from '../runs/heartbeat-run.entity.js';
import { REASONS } from '../waiting/blocked.js';

/** What it waits on. */
export class WaitingScopeResponse {
  @ApiProperty({ enum: ['company', 'agent', 'issue', 'environment', 'workspace'] })
  type: NonNullable<WaitingReason['scope']>['type'];
  id: string;
}

/** Somebody who has what is waited for. */
export class BlockerResponse {
  leaseId: string | null;
  heartbeatRunId: string | null;
  /** `run:<id>`, or the name of a holder outside. */
  holder: string;
  /** Of an ended lease: the state of its place, which still takes up the room. */
  place: string | null;
  since: string;
}

/** Why something waits: a stable code, a sentence, what it waits on, and who has that now. */
export class WaitingReasonResponse {
  @ApiProperty({ enum: Object.keys(REASONS) })
  code: string;
  /** @example "The environment \"build-box\" is at its capacity: 2 of 2, held by run A, run B" */
  message: string;
  scope: WaitingScopeResponse | null;
  /** The longest holding first, at most 20. */
  heldBy?: BlockerResponse[];
  /** How many hold it. */
  heldCount?: number;
  /** How many may. */
  capacity?: number | null;
  /** Since when this has been the reason. */
  since?: string;
}

/** Why a run is where it is, or why it is still waiting. */
export class PlacementResponse {
  runId: string;
  status: string;
  /** Where it runs or ran; where it would go before it starts. */
  environment: Record<string, unknown> | null;
  leaseId: string | null;
  /** Which reference decides: `issue`, `workspace`, `agent`, `company`, or `default` for `Local`. */
  decidedBy: string | null;
  /** What it waits for now; of a run that ended without starting, what it waited for last. */
  waitingReason: WaitingReasonResponse | null;
  /** Kept from its start: what each reference said, what the gate found, and what it had waited for. */
  @ApiProperty({ type: 'object', additionalProperties: true, nullable: true })
  placement: PlacementRecord | null;
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
