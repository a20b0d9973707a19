import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { arrayOf, ID_BEFORE_ALL, pageOf, type DuePage, type DueRows } from './due-rows.js';
import { Removals, type Removal } from './removals.js';
import { TokenFloor } from './token-floor.js';

const PAGE = 500;

/** Whether a lease l without a run may go: it let go of everything before the time, and of no place that others name. */
export const RESERVATION_IS_DUE = (before: string) => `l.heartbeat_run_id is null and l.held_until < ${before}
  and not exists (select 1 from environment_places p join environment_leases other on other.place_id = p.id
    where p.lease_id = l.id and other.id <> l.id)`;

/** Removes leases of holders outside that ended long ago, each with the place that it held last. */
@Injectable()
export class RemoveReservations implements DueRows {
  constructor(
    private readonly em: EntityManager,
    private readonly removals: Removals,
    private readonly tokens: TokenFloor,
  ) {}

  async due({ companyId, before }: Removal, after: string | null): Promise<DuePage> {
    const rows = await this.em.execute<{ id: string }[]>(
      `select l.id from environment_leases l
       where l.company_id = ? and l.id > ? and l.id < first_id_at(?) and ${RESERVATION_IS_DUE('?::timestamptz')}
       order by l.id limit ?`,
      [companyId, after ?? ID_BEFORE_ALL, before, before, PAGE],
    );
    return pageOf(
      rows.map(({ id }) => id),
      PAGE,
    );
  }

  remove(removal: Removal, ids: string[]): Promise<number> {
    return this.removals.page(removal, async () => {
      const { companyId, before } = removal;
      const [row] = await this.em.execute<[{ leases: number; places: number; token: string | null }]>(
        `with due as materialized (
           select l.id from environment_leases l where l.id = any(?::uuid[]) and l.company_id = ?
             and ${RESERVATION_IS_DUE('?::timestamptz')} for update skip locked),
         leases as (delete from environment_leases l using due where l.id = due.id returning l.id, l.fencing_token),
         places as (delete from environment_places p using leases where p.lease_id = leases.id returning p.id),
         folds as (delete from activity_folds f using (
             select 'environment_lease' as type, id from leases union all select 'environment_place', id from places) gone
           where f.company_id = ? and f.entity_type = gone.type and f.entity_id = gone.id::text)
         select (select count(*) from leases)::integer as leases, (select count(*) from places)::integer as places,
           (select max(fencing_token) from leases) as token`,
        [arrayOf(ids), companyId, before, companyId],
      );
      const { token, ...rows } = row;
      await this.tokens.keep(token);
      return { rows };
    });
  }
}
