import type { ContextSnapshot, PlacementRecord } from './heartbeat-run.entity.js';

/** A run as far as it says what it is told. */
interface Told {
  readonly contextSnapshot: ContextSnapshot;
  readonly leaseId?: string | null;
  readonly placement?: PlacementRecord | null;
}

/** What a run is told: what woke it, and, once it has started, where it is. Runs of former builds have that stored. */
export function toldContext({ contextSnapshot, leaseId, placement }: Told): ContextSnapshot {
  if (contextSnapshot.paperclipEnvironment || !placement || !leaseId) return contextSnapshot;
  const { environmentId: id, environmentName: name, driver, fencingToken, decidedBy, found } = placement;
  const workspace = found.workspace && { id: found.workspace.id, cwd: found.workspace.cwd };
  return {
    ...contextSnapshot,
    paperclipEnvironment: { id, name, driver, leaseId, fencingToken, decidedBy, ...(workspace ? { workspace } : {}) },
  };
}
