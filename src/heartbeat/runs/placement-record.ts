import type { HeartbeatRun, KeptPlacement, PlacementRecord } from './heartbeat-run.entity.js';

/** What is known of a placement when it is decided, before the lease has been acquired. */
export type DecidedPlacement = Omit<PlacementRecord, 'fencingToken' | 'host'>;

/** What is kept of it with the run. */
export function keptOf({
  decidedBy,
  environmentName,
  references,
  place,
  found,
  waitedFor,
}: DecidedPlacement): KeptPlacement {
  const chosen = known(references);
  return {
    decidedBy,
    environmentName,
    found: { ...known(found), agent: found.agent },
    ...(Object.keys(chosen).length > 0 ? { references: chosen } : {}),
    ...(place?.takenOver ? { takenOver: true } : {}),
    ...(waitedFor ? { waitedFor } : {}),
  };
}

/** Why the run went where it went; null before it starts. */
export function placementOf({
  placement,
  placedUnder,
}: Pick<HeartbeatRun, 'placement' | 'placedUnder'>): PlacementRecord | null {
  if (placement && 'environmentId' in placement) return placement;
  if (!placement || !placedUnder) return null;
  const { references, takenOver = false, found, waitedFor = null, ...decided } = placement;
  const { placeId, ...there } = placedUnder;
  return {
    ...decided,
    ...there,
    references: { ...NOTHING_CHOSEN, ...references },
    place: placeId === null ? null : { id: placeId, takenOver },
    found: { company: null, environment: null, workspace: null, ...found },
    waitedFor,
  };
}

const NOTHING_CHOSEN = { issue: null, workspace: null, agent: null, company: null };

/** An object's fields that are not null. */
const known = <T extends object>(object: T) =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null)) as Partial<T>;
