import type {
  ContextSnapshot,
  HeartbeatRun,
  InvocationSource,
  PlacementRecord,
  TriggerDetail,
} from './heartbeat-run.entity.js';
import { placementOf } from './placement-record.js';

/** A run as far as it says what it is told. */
interface Told {
  readonly contextSnapshot: ContextSnapshot;
  readonly invocationSource: InvocationSource;
  readonly triggerDetail: TriggerDetail | null;
  readonly leaseId: string | null;
  readonly placement: PlacementRecord | null;
}

/**
 * What a run is told: what woke it, and, once it has started, where it is. Of that only what the run's row does not say
 * besides is stored with it; of runs of former builds all.
 */
export function toldContext({
  contextSnapshot,
  invocationSource,
  triggerDetail,
  leaseId,
  placement,
}: Told): ContextSnapshot {
  const woken = { source: invocationSource, triggerDetail, wakeReason: null, wakeReasons: [], ...contextSnapshot };
  if (contextSnapshot.paperclipEnvironment || !placement || !leaseId) return woken;
  const { environmentId: id, environmentName: name, driver, fencingToken, decidedBy, found } = placement;
  const workspace = found.workspace && { id: found.workspace.id, cwd: found.workspace.cwd };
  return {
    ...woken,
    paperclipEnvironment: { id, name, driver, leaseId, fencingToken, decidedBy, ...(workspace ? { workspace } : {}) },
  };
}

type ToldRun = Pick<
  HeartbeatRun,
  'contextSnapshot' | 'invocationSource' | 'triggerDetail' | 'leaseId' | 'placement' | 'placedUnder'
>;

/** The same of a run as it is read. */
export const toldContextOf = (run: ToldRun): ContextSnapshot =>
  toldContext({
    contextSnapshot: run.contextSnapshot,
    invocationSource: run.invocationSource,
    triggerDetail: run.triggerDetail ?? null,
    leaseId: run.leaseId ?? null,
    placement: placementOf(run),
  });
