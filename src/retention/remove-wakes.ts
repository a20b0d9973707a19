import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { arrayOf, ID_BEFORE_ALL, pageOf, type DuePage, type DueRows } from './due-rows.js';
import { Removals, type Removal } from './removals.js';

const PAGE = 500;

/** Whether a wake w may go by itself: it came to nothing before the time. */
export const WAKE_IS_DUE = (before: string) => `w.run_id is null and w.finished_at < ${before}`;

/** Removes wakes that came to nothing long ago: skipped, cancelled. Those that became or joined a run go with that. */
@Injectable()
export class RemoveWakes implements DueRows {
  constructor(
    private readonly em: EntityManager,
    private readonly removals: Removals,
  ) {}

  async due({ companyId, before }: Removal, after: string | null): Promise<DuePage> {
    const rows = await this.em.execute<{ id: string }[]>(
      `select w.id from agent_wakeup_requests w
       where w.company_id = ? and w.id > ? and w.id < first_id_at(?) and ${WAKE_IS_DUE('?::timestamptz')}
       order by w.id limit ?`,
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
      const gone = await this.em.execute<{ id: string }[]>(
        `with due as materialized (
           select w.id from agent_wakeup_requests w where w.id = any(?::uuid[]) and w.company_id = ?
             and ${WAKE_IS_DUE('?::timestamptz')} for update skip locked)
         delete from agent_wakeup_requests w using due where w.id = due.id returning w.id`,
        [arrayOf(ids), companyId, before],
      );
      return { rows: { wakes: gone.length } };
    });
  }
}
