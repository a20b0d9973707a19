import { ID_BEFORE_ALL } from './due-rows.js';
import { RESERVATION_IS_DUE } from './remove-reservations.js';
import { RUN_IS_DUE } from './remove-runs.js';
import { WAKE_IS_DUE } from './remove-wakes.js';

/** What can be due: tables, where kinds are settings. */
export type DueKind = 'activity' | 'runs' | 'leases' | 'wakes' | 'runLogs';

/** Of runs without a log only so many are passed over. */
const LOGS_LOOKED_AT = 1000;

/** The times of the first rows that are due by a row `due` of `DUE_REMOVALS`, oldest first. */
export const DUE_ROWS: Readonly<Record<DueKind, (limit: number) => string>> = {
  activity: (limit) => `
    select a.created_at as at from activity_rows a
    where due.kind = 'activity' and a.company_id = due.company_id and a.created_at < due.before
    order by a.created_at, a.seq limit ${limit}`,
  runs: (limit) => `
    select r.finished_at as at from heartbeat_runs r
    where due.kind = 'runs' and r.company_id = due.company_id and r.id < first_id_at(due.before)
      and ${RUN_IS_DUE('due.before')}
    order by r.id limit ${limit}`,
  leases: (limit) => `
    select l.held_until as at from environment_leases l
    where due.kind = 'runs' and l.company_id = due.company_id and l.id < first_id_at(due.before)
      and ${RESERVATION_IS_DUE('due.before')}
    order by l.id limit ${limit}`,
  wakes: (limit) => `
    select w.finished_at as at from agent_wakeup_requests w
    where due.kind = 'runs' and w.company_id = due.company_id and w.id < first_id_at(due.before)
      and ${WAKE_IS_DUE('due.before')}
    order by w.id limit ${limit}`,
  runLogs: (limit) => `
    select looked.finished_at as at from (
      select r.id, r.finished_at from heartbeat_runs r
      where due.kind = 'runLogs' and r.company_id = due.company_id
        and r.id > coalesce(due.resume_after, '${ID_BEFORE_ALL}') and r.id < first_id_at(due.before)
      order by r.id limit ${LOGS_LOOKED_AT}) looked
    where looked.finished_at < due.before
      and exists (select 1 from heartbeat_run_log_chunks c where c.run_id = looked.id)
    order by looked.id limit ${limit}`,
};
