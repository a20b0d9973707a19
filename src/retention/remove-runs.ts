import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { BerthConfig } from '../config/config.js';
import { MAX_IDENTICAL_FAILURES } from '../heartbeat/ending/agent-health.js';
import { arrayOf, ID_BEFORE_ALL, type DuePage, type DueRows } from './due-rows.js';
import { Removals, type Removal } from './removals.js';
import type { RemovedRows } from './retention.events.js';
import { TokenFloor } from './token-floor.js';

/** Most runs that go together, and most bytes of their logs: what one transaction takes a fraction of a second for. */
const PAGE = 200;
const PAGE_LOG_BYTES = 32 * 1024 * 1024;

/** Ids of the leases of a run: the one that it names, and further ones. */
const LEASES_OF = (run: string) => `select ${run}.lease_id
  union all select f.id from environment_leases f where f.run_lease_id = ${run}.lease_id and f.run_lease_id <> f.id`;

/**
 * Whether a run r may go that ended before a time: its retry has gone, it is not one of those by which its agent is
 * judged, and its leases have let go of everything before that time and are named by no place that others had.
 */
export const RUN_IS_DUE = (before: string) => `r.finished_at < ${before}
  and not exists (select 1 from heartbeat_runs retry where retry.company_id = r.company_id and retry.retry_of_run_id = r.id)
  and exists (select 1 from heartbeat_runs newer where newer.agent_id = r.agent_id and newer.id > r.id
    and newer.status not in ('queued', 'scheduled_retry', 'running') order by newer.id offset ${MAX_IDENTICAL_FAILURES - 1})
  and not exists (select 1 from environment_leases l where l.id = any(array(${LEASES_OF('r')}))
    and (l.held_until is null or l.held_until >= ${before} or exists (
      select 1 from environment_places p join environment_leases other on other.place_id = p.id
      where p.lease_id = l.id and other.heartbeat_run_id is distinct from r.id)))`;

interface Removed extends RemovedRows {
  runs: number;
  leases: number;
  places: number;
  wakes: number;
  runLogs: number;
}

/** Removes runs that ended long ago, each with everything that belongs to it. */
@Injectable()
export class RemoveRuns implements DueRows {
  constructor(
    private readonly em: EntityManager,
    private readonly removals: Removals,
    private readonly tokens: TokenFloor,
    private readonly config: BerthConfig,
  ) {}

  async due({ companyId, before }: Removal, after: string | null): Promise<DuePage> {
    const rows = await this.em.execute<{ id: string; log_bytes: string }[]>(
      `select r.id, r.log_bytes from heartbeat_runs r
       where r.company_id = ? and r.id > ? and r.id < first_id_at(?) and ${RUN_IS_DUE('?::timestamptz')}
       order by r.id limit ?`,
      [companyId, after ?? ID_BEFORE_ALL, before, before, before, PAGE],
    );
    let bytes = 0;
    const fits = ({ log_bytes }: { log_bytes: string }) =>
      (bytes += Math.min(Number(log_bytes), this.config.runLogMaxBytes)) <= PAGE_LOG_BYTES;
    const tooMany = rows.findIndex((row, at) => !fits(row) && at > 0);
    const ids = rows.slice(0, tooMany === -1 ? PAGE : tooMany).map(({ id }) => id);
    const more = tooMany !== -1 || rows.length === PAGE;
    return { ids, next: more ? (ids.at(-1) ?? null) : null };
  }

  remove(removal: Removal, ids: string[]): Promise<number> {
    return this.removals.page(removal, async () => {
      const { companyId, before } = removal;
      const [row] = await this.em.execute<[Removed & { token: string | null }]>(
        `with due as materialized (
           select r.id, r.lease_id from heartbeat_runs r where r.id = any(?::uuid[]) and r.company_id = ?
             and ${RUN_IS_DUE('?::timestamptz')} for update skip locked),
         held as materialized (select l.lease_id as id from due cross join lateral (${LEASES_OF('due')}) l),
         leases as (delete from environment_leases l using held where l.id = held.id
           returning l.id, l.fencing_token),
         places as (delete from environment_places p using leases where p.lease_id = leases.id returning p.id),
         wakes as (delete from agent_wakeup_requests w using due where w.run_id = due.id returning w.id),
         logs as (delete from heartbeat_run_log_chunks c using due where c.run_id = due.id returning 1),
         comments as (update issue_comments c set created_by_run_id = null from due
           where c.company_id = ? and c.created_by_run_id = due.id),
         runs as (delete from heartbeat_runs r using due where r.id = due.id returning r.id),
         folds as (delete from activity_folds f using (
             select 'heartbeat_run' as type, id from runs union all select 'environment_lease', id from leases
             union all select 'environment_place', id from places) gone
           where f.company_id = ? and f.entity_type = gone.type and f.entity_id = gone.id::text)
         select (select count(*) from runs)::integer as runs, (select count(*) from leases)::integer as leases,
           (select count(*) from places)::integer as places, (select count(*) from wakes)::integer as wakes,
           (select count(*) from logs)::integer as "runLogs", (select max(fencing_token) from leases) as token`,
        [arrayOf(ids), companyId, before, before, companyId, companyId],
      );
      const { token, ...rows } = row;
      await this.tokens.keep(token);
      return { rows };
    });
  }
}
