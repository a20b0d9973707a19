import type { Check } from './check.js';
import { toldOf } from './told.js';

const ENDED = `('succeeded', 'failed', 'cancelled', 'timed_out')`;

/** What holds between runs, their leases and the record. */
export const RUN_CHECKS: readonly Check[] = [
  {
    name: 'runs_start_and_end_once',
    claim: 'The record tells of one start of each run that started, and of one end of each that ended.',
    over: 'heartbeat_runs',
    divergences: `
      with told as (${toldOf('heartbeat_run')})
      select r.id, format('Run %s is %s, and the record tells of %s starts and %s ends', r.id, r.status,
        coalesce(told.begins, 0), coalesce(told.ends, 0)) as sentence
      from heartbeat_runs r left join told on told.company_id = r.company_id and told.entity_id = r.id::text
      where coalesce(told.begins, 0) <> (r.started_at is not null)::integer
        or coalesce(told.ends, 0) <> (r.status in ${ENDED})::integer`,
  },
  {
    name: 'running_runs_are_held',
    claim: 'Each running run has its own active lease.',
    over: `heartbeat_runs where status = 'running'`,
    divergences: `
      select r.id, format('Run %s is running, and its lease %s is %s', r.id, coalesce(r.lease_id::text, '(none)'),
        case when l.id is null then 'missing' when l.heartbeat_run_id is distinct from r.id then 'another holder''s'
          else l.status end) as sentence
      from heartbeat_runs r left join environment_leases l on l.id = r.lease_id
      where r.status = 'running' and (l.status is distinct from 'active' or l.heartbeat_run_id is distinct from r.id)`,
  },
  {
    name: 'leases_end_with_their_run',
    claim: 'Each active lease of a run belongs to the lease under which that run is running.',
    over: `environment_leases where status = 'active' and heartbeat_run_id is not null`,
    divergences: `
      select l.id, format('Lease %s is active, and its run %s is %s%s', l.id, l.heartbeat_run_id,
        coalesce(r.status, 'missing'), case when r.status = 'running' then format(' under lease %s', r.lease_id) end) as sentence
      from environment_leases l left join heartbeat_runs r on r.id = l.heartbeat_run_id
      where l.status = 'active' and l.heartbeat_run_id is not null
        and (r.status is distinct from 'running' or r.lease_id is distinct from l.run_lease_id)`,
  },
];
