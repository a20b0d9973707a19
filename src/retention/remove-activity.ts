import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { FOLDS, stateAfter } from '../activity/verify/folds.js';
import { BEGINNINGS, ENDS } from '../activity/verify/told.js';
import { Removals, type Removal } from './removals.js';

const PAGE = 1000;

const STATE = `case entity_type ${FOLDS.map((fold) => `when '${fold.subject}' then ${stateAfter(fold)}`).join('\n')} end`;
/** Nothing is kept of what is gone itself. */
const IS_THERE = `case entity_type ${FOLDS.map(
  ({ subject, table }) => `when '${subject}' then exists (select 1 from ${table} where id = told.entity_id::uuid)`,
).join('\n')} end`;

/**
 * Takes the oldest rows of the record out, each with all of its entries, and writes what they said of the state of things that are still there into a line for each
 * of these, under what earlier ones said.
 */
const REMOVE = `
  with due as materialized (
    select created_at, seq from activity_rows where company_id = ? and created_at < ?
    order by created_at, seq limit ? for update skip locked),
  entries as materialized (
    select e.company_id, e.seq, e.created_at, e.action, e.entity_type, e.entity_id, e.details
    from due join activity_log e on e.company_id = ? and e.created_at = due.created_at and e.row_seq = due.seq),
  gone as (
    delete from activity_rows a using due where a.company_id = ? and a.created_at = due.created_at and a.seq = due.seq
    returning a.tx),
  told as (
    select company_id, entity_type, entity_id, (array_agg(state order by seq desc))[1] as state, max(seq) as seq,
      max(created_at) as at, count(*) filter (where action in (${BEGINNINGS})) as begins,
      count(*) filter (where action in (${ENDS})) as ends
    from (select *, ${STATE} as state from entries) entry where state is not null
    group by company_id, entity_type, entity_id),
  folded as (
    insert into activity_folds as f (company_id, entity_type, entity_id, state, seq, at, begins, ends)
    select company_id, entity_type, entity_id, state, seq, at, begins, ends from told where ${IS_THERE}
    on conflict (company_id, entity_type, entity_id) do update set
      state = case when excluded.seq > f.seq then excluded.state else f.state end,
      seq = greatest(f.seq, excluded.seq), at = greatest(f.at, excluded.at),
      begins = f.begins + excluded.begins, ends = f.ends + excluded.ends)
  select (select count(*)::integer from entries) as activity, (select max(tx)::text from gone) as through`;

/** Removes the oldest entries of the record. */
@Injectable()
export class RemoveActivity {
  constructor(
    private readonly em: EntityManager,
    private readonly removals: Removals,
  ) {}

  /** One page. @returns how many entries went; none when nothing is due any more. */
  page(removal: Removal): Promise<number> {
    return this.removals.page(removal, async () => {
      const { companyId, before } = removal;
      const [{ activity, through }] = await this.em.execute<[{ activity: number; through: string }]>(REMOVE, [
        companyId,
        before,
        PAGE,
        companyId,
        companyId,
      ]);
      return { rows: { activity }, throughTx: through };
    });
  }
}
