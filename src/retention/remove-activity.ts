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
 * Takes the oldest entries out, and writes what they said of the state of things that are still there into a line for each
 * of these, under what earlier ones said.
 */
const REMOVE = `
  with due as materialized (
    select created_at, seq from activity_log where company_id = ? and created_at < ?
    order by created_at, seq limit ? for update skip locked),
  gone as (
    delete from activity_log a using due where a.company_id = ? and a.created_at = due.created_at and a.seq = due.seq
    returning a.company_id, a.seq, a.tx, a.created_at, a.action, a.entity_type, a.entity_id, a.details),
  told as (
    select company_id, entity_type, entity_id, (array_agg(state order by seq desc))[1] as state, max(seq) as seq,
      max(created_at) as at, count(*) filter (where action in (${BEGINNINGS})) as begins,
      count(*) filter (where action in (${ENDS})) as ends
    from (select *, ${STATE} as state from gone) entry where state is not null
    group by company_id, entity_type, entity_id),
  folded as (
    insert into activity_folds as f (company_id, entity_type, entity_id, state, seq, at, begins, ends)
    select company_id, entity_type, entity_id, state, seq, at, begins, ends from told where ${IS_THERE}
    on conflict (company_id, entity_type, entity_id) do update set
      state = case when excluded.seq > f.seq then excluded.state else f.state end,
      seq = greatest(f.seq, excluded.seq), at = greatest(f.at, excluded.at),
      begins = f.begins + excluded.begins, ends = f.ends + excluded.ends)
  select count(*)::integer as activity, max(tx)::text as through from gone`;

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
      ]);
      return { rows: { activity }, throughTx: through };
    });
  }
}
