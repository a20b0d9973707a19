import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { BerthConfig } from '../config/config.js';
import { arrayOf, ID_BEFORE_ALL, type DuePage, type DueRows } from './due-rows.js';
import { Removals, type Removal } from './removals.js';

/** Most runs that are looked at, and most bytes of their logs that go together. */
const PAGE = 500;
const PAGE_LOG_BYTES = 32 * 1024 * 1024;

interface Looked {
  id: string;
  log_bytes: string;
  ended: boolean;
  has_log: boolean;
}

/** A look that also says how far there is nothing left to look at. */
export interface DueLogs extends DuePage {
  /** The last run of the page before which all have ended long enough ago; null where the first one has not. */
  readonly doneTo: string | null;
  /** Whether there was one that has not. */
  readonly someStay: boolean;
}

/** Removes what runs wrote that ended long ago; the runs stay. */
@Injectable()
export class RemoveRunLogs implements DueRows {
  constructor(
    private readonly em: EntityManager,
    private readonly removals: Removals,
    private readonly config: BerthConfig,
  ) {}

  /** Up to where the last pass left nothing to look at. */
  async resumeAfter({ companyId, kind }: Removal): Promise<string | null> {
    const [row] = await this.em.execute<{ resume_after: string | null }[]>(
      'select resume_after from retention_horizons where company_id = ? and kind = ?',
      [companyId, kind],
    );
    return row?.resume_after ?? null;
  }

  async due({ companyId, before }: Removal, after: string | null): Promise<DueLogs> {
    const rows = await this.em.execute<Looked[]>(
      `select r.id, r.log_bytes, coalesce(r.finished_at < ?, false) as ended,
         exists (select 1 from heartbeat_run_log_chunks c where c.run_id = r.id) as has_log
       from heartbeat_runs r where r.company_id = ? and r.id > ? and r.id < first_id_at(?) order by r.id limit ?`,
      [before, companyId, after ?? ID_BEFORE_ALL, before, PAGE],
    );
    let bytes = 0;
    const fits = ({ has_log, log_bytes }: Looked) =>
      !has_log || (bytes += Math.min(Number(log_bytes), this.config.runLogMaxBytes)) <= PAGE_LOG_BYTES;
    const tooMany = rows.findIndex((row, at) => !fits(row) && at > 0);
    const looked = rows.slice(0, tooMany === -1 ? PAGE : tooMany);
    const stays = looked.findIndex(({ ended }) => !ended);
    return {
      ids: looked.filter(({ ended, has_log }) => ended && has_log).map(({ id }) => id),
      next: tooMany !== -1 || rows.length === PAGE ? (looked.at(-1)?.id ?? null) : null,
      doneTo: (stays === -1 ? looked.at(-1) : looked[stays - 1])?.id ?? null,
      someStay: stays !== -1,
    };
  }

  remove(removal: Removal, ids: string[]): Promise<number> {
    return this.removals.page(removal, async () => {
      const [rows] = await this.em.execute<[{ runLogs: number }]>(
        `with due as materialized (
           select id from heartbeat_runs where id = any(?::uuid[]) and company_id = ? and finished_at < ?),
         gone as (delete from heartbeat_run_log_chunks c using due where c.run_id = due.id returning 1)
         select count(*)::integer as "runLogs" from gone`,
        [arrayOf(ids), removal.companyId, removal.before],
      );
      return { rows };
    });
  }
}
