import { LeaseAcquired, LeaseExpired, LeaseFailed, LeaseReleased } from '../../leases/leases.events.js';
import {
  HeartbeatCancelled,
  HeartbeatFailed,
  HeartbeatStarted,
  HeartbeatSucceeded,
  HeartbeatTimedOut,
} from '../../heartbeat/runs/heartbeat.events.js';
import type { DomainEventClass } from '../../events/domain-event.js';

const actions = (...events: DomainEventClass[]) => events.map(({ action }) => `'${action}'`).join(', ');

/** Entries that tell of the beginning of a run or a lease, and of its end: as lists in SQL. */
export const BEGINNINGS = actions(HeartbeatStarted, LeaseAcquired);
export const ENDS = actions(
  ...[HeartbeatSucceeded, HeartbeatFailed, HeartbeatTimedOut, HeartbeatCancelled],
  ...[LeaseReleased, LeaseExpired, LeaseFailed],
);

/** How many beginnings and ends the record tells of, by thing; those of entries that were removed since, too. */
export const toldOf = (subject: 'heartbeat_run' | 'environment_lease'): string => `
  select company_id, entity_id, sum(begins) as begins, sum(ends) as ends from (
    select company_id, entity_id, (action in (${BEGINNINGS}))::integer as begins, (action in (${ENDS}))::integer as ends
    from activity_log where entity_type = '${subject}' and action in (${BEGINNINGS}, ${ENDS})
    union all
    select company_id, entity_id, begins, ends from activity_folds where entity_type = '${subject}') entry
  group by company_id, entity_id`;
