import type { Check } from './check.js';
import { FOLDS, stateAfter, type Fold } from './folds.js';

/** An end and its entry are of one transaction, and may be on both sides of a horizon. */
const END_TO_ENTRY = `interval '1 hour'`;

/** Whether the thing had ended before its company's horizon, so that its row may have been removed. */
const mayBeRemoved = ({ removedWhen }: Fold): string =>
  removedWhen
    ? `kept.state is null and said.state in (${removedWhen.map((state) => `'${state}'`).join(', ')})
      and said.at < (select h.complete_since + ${END_TO_ENTRY} from retention_horizons h
        where h.company_id = said.company_id and h.kind = 'runs')`
    : 'false';

function foldCheck(fold: Fold): Check {
  const { subject, called, table, state, company = 'company_id', after } = fold;
  return {
    name: `${table}_as_recorded`,
    claim: `Each row of ${table} is as the last entry about it says.`,
    over: table,
    divergences: `
    with said as (
      select distinct on (company_id, entity_id) company_id, entity_id, seq, at, action, state from (
        select company_id, entity_id, seq, created_at as at, action, ${stateAfter(fold)} as state
        from activity_log where entity_type = '${subject}'
          and action in (${after.map(([event]) => `'${event.action}'`).join(', ')})
        union all
        select company_id, entity_id, seq, at, 'removed since', state
        from activity_folds where entity_type = '${subject}') entry
      where state is not null order by company_id, entity_id, seq desc),
    kept as (select ${company} as company_id, id::text as entity_id, ${state} as state from ${table})
    select coalesce(kept.entity_id, said.entity_id) as id, case
      when said.state is null then
        format('${called} %s is %s, and the record has no entry that made it so', kept.entity_id, kept.state)
      when kept.state is null then
        format('${called} %s is %s by entry %s (%s), and there is no such row', said.entity_id, said.state, said.seq, said.action)
      else format('${called} %s is %s, and %s by the last entry about it, %s (%s)',
        kept.entity_id, kept.state, said.state, said.seq, said.action) end as sentence
    from kept full join said on said.company_id = kept.company_id and said.entity_id = kept.entity_id
    where kept.state is distinct from said.state and (${mayBeRemoved(fold)}) is not true`,
  };
}

/**
 * Every row is as the last entry says that spoke of its state, and everything that the record speaks of has a row, unless
 * retention removed it. Within one thing `seq` is the order in which it happened: whoever changes it holds its row before
 * its entry is written.
 */
export const FOLD_CHECKS: readonly Check[] = FOLDS.map(foldCheck);
