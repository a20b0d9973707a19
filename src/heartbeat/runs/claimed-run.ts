import type { AcquiredLease } from '../../leases/acquire-leases.js';
import type { ContextSnapshot } from './heartbeat-run.entity.js';

/** A run that this process has started: everything needed to execute it, as it was when it was claimed. */
export interface ClaimedRun {
  readonly id: string;
  readonly companyId: string;
  readonly agentId: string;
  readonly issueId: string | null;
  readonly lease: AcquiredLease;
  /** From when it was due until it started, in seconds. */
  readonly waitedSec: number;
  /** Secret of the run's own API token; its hash is all that the database knows. */
  readonly token: string;
  readonly contextSnapshot: ContextSnapshot;
  readonly adapterType: string;
  /** It and the environment's variables name secrets by reference, except where they are about to be executed. */
  readonly adapterConfig: Record<string, unknown>;
  readonly environment: {
    readonly id: string;
    readonly name: string;
    readonly driver: string;
    readonly config: Record<string, unknown>;
    readonly envVars: Record<string, unknown>;
  };
  readonly workspace: { readonly id: string; readonly cwd: string } | null;
  /** What its driver shall make, or has made for a former holder; null where nothing is left behind. */
  readonly place: { readonly id: string; readonly facts: Record<string, unknown>; readonly takenOver: boolean } | null;
  /** When the lease runs out unless it is renewed, in milliseconds of the boot clock. */
  readonly deadline: number;
}
