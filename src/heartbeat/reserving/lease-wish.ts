/** What somebody outside wants to hold: a reservation, or a further lease of a running run. */
export interface LeaseWish {
  readonly companyId: string;
  readonly environmentId: string;
  readonly executionWorkspaceId: string | null;
  /** The run that it is a further lease of; null for a reservation. */
  readonly heartbeatRunId: string | null;
  readonly holder: string;
  /** How long it lasts from each renewal on, in seconds; null for as long as the run does. */
  readonly ttlSec: number | null;
  readonly metadata: Record<string, unknown>;
}

/** What keeps a wish from being granted now, and does not keep it for ever. */
export type Obstacle = 'environment_draining' | 'workspace_occupied' | 'environment_at_capacity';

/** Who waits before somebody: a run, or another caller. */
export interface WaitingBefore {
  readonly kind: 'run' | 'reservation';
  readonly id: string;
  readonly holder: string;
  readonly since: Date;
}
