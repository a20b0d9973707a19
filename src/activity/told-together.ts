import type { Actor } from '../events/actor.js';
import { HeartbeatStarted, HeartbeatSucceeded } from '../heartbeat/runs/heartbeat.events.js';
import { LeaseAcquired, LeaseReleased } from '../leases/leases.events.js';

/** One entry, in full. */
export interface Told {
  readonly companyId: string;
  readonly actorType: Actor['type'];
  readonly actorId: string;
  readonly action: string;
  readonly entityType: string;
  readonly entityId: string;
  readonly agentId: string | null;
  readonly runId: string | null;
  readonly details: Record<string, unknown>;
}

/** What is written of one entry, or of two. */
export interface Written extends Omit<Told, 'entityType' | 'entityId' | 'details'> {
  readonly entityType?: string;
  readonly entityId?: string;
  readonly details?: Record<string, unknown>;
  readonly leaseId?: string;
  readonly environmentId?: string;
  readonly executionWorkspaceId?: string | null;
  readonly issueId?: string | null;
  readonly driver?: string;
  readonly leasePolicy?: string;
  readonly host?: string;
}

/** Actions whose details say that nothing is known of these; the view says it again. */
const UNKNOWN: Record<string, readonly string[]> = {
  'heartbeat.invoked': ['reason', 'issueId'],
  'heartbeat.queued': ['reason', 'issueId'],
};

/** Entries of one transaction as rows, in their order: two about the same run and its lease in the place of the first. */
export function toldTogether(entries: readonly Told[]): Written[] {
  const rows: Written[] = [];
  const halves = new Map<string, { told: Told; at: number }>();
  for (const told of entries) {
    const leaseId = leaseOf(told);
    const first = leaseId === null ? undefined : halves.get(leaseId);
    const both = first && writtenTogether(first.told, told);
    if (both) rows[first.at] = both;
    else rows.push(writtenAlone(told));
    if (both) halves.delete(leaseId!);
    else if (leaseId !== null) halves.set(leaseId, { told, at: rows.length - 1 });
  }
  return rows;
}

/** One entry as a row of its own. */
export function writtenAlone({ entityType, entityId, details, ...told }: Told): Written {
  const unknown = UNKNOWN[told.action] ?? [];
  const known = Object.entries(details).filter(([name, value]) => value !== null || !unknown.includes(name));
  const about = entityType === 'heartbeat_run' && entityId === told.runId ? {} : { entityType, entityId };
  return { ...told, ...about, details: Object.fromEntries(known) };
}

/** Which lease an entry is about, or that of the run that it is about; null of an entry that is always told alone. */
export function leaseOf({ action, entityId, details }: Told): string | null {
  if (action === LeaseAcquired.action || action === LeaseReleased.action) return entityId;
  const ofRun = action === HeartbeatStarted.action || action === HeartbeatSucceeded.action;
  return ofRun && typeof details.leaseId === 'string' ? details.leaseId : null;
}

/**
 * Two entries about a run and its lease as one row, where that says all that they say: the view `activity_log` makes both
 * of it again, in this order.
 */
export function writtenTogether(first: Told, second: Told): Written | null {
  const [lease, run] = first.action === LeaseAcquired.action ? [first, second] : [second, first];
  const starts = first.action === LeaseAcquired.action && second.action === HeartbeatStarted.action;
  const succeeds = first.action === HeartbeatSucceeded.action && second.action === LeaseReleased.action;
  if (!starts && !succeeds) return null;
  const { environmentId, driver, leasePolicy, provider, executionWorkspaceId, issueId, status, ...more } =
    lease.details;
  const { host, leaseId, issueId: issueOfRun, ...moreOfRun } = run.details;
  const isAll =
    hasNothing(more) && hasNothing(moreOfRun) && provider === driver && issueOfRun === issueId && isSame(lease, run);
  if (!isAll || leaseId !== lease.entityId || status !== (starts ? 'active' : 'released')) return null;
  const { companyId, actorType, actorId, action, agentId, runId } = run;
  return {
    ...{ companyId, actorType, actorId, action, agentId, runId, leaseId },
    ...({ environmentId, driver, leasePolicy, executionWorkspaceId, issueId } as Partial<Written>),
    ...(starts ? { host: host as string } : {}),
  };
}

const hasNothing = (details: object) => Object.keys(details).length === 0;

const isSame = (one: Told, other: Told) =>
  (['companyId', 'actorType', 'actorId', 'agentId', 'runId'] as const).every((name) => one[name] === other[name]);
