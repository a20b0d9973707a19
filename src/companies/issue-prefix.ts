import type { EntityManager } from '@mikro-orm/postgresql';

const LETTERS = 3;
const FALLBACK = 'CO';

/** What the issues of a company of this name would be called by: its first letters, for example `BER` for Berth. */
export function prefixBase(name: string): string {
  const letters = name
    .normalize('NFKD')
    .toUpperCase()
    .replace(/[^A-Z0-9]/g, '')
    .replace(/^[0-9]+/, '');
  return letters.slice(0, LETTERS) || FALLBACK;
}

/**
 * Lets one transaction at a time choose a prefix, so that companies of one name that are made at once do not choose
 * the same. Released when the transaction ends.
 */
export async function lockPrefixes(em: EntityManager): Promise<void> {
  await em.execute(`select pg_advisory_xact_lock(hashtextextended('companies.issue_prefix', 0))`);
}

/** The first free one of `BER`, `BER2`, `BER3`, …: one index look-up each. Needs `lockPrefixes`. */
export async function freePrefix(em: EntityManager, name: string): Promise<string> {
  const base = prefixBase(name);
  const [free] = await em.execute<[{ prefix: string }]>(
    `with recursive candidate (n, prefix) as (
       select 1, ?::text
       union all
       select n + 1, ?::text || (n + 1) from candidate
        where exists (select 1 from companies where issue_prefix = candidate.prefix))
     select prefix from candidate order by n desc limit 1`,
    [base, base],
  );
  return free.prefix;
}
