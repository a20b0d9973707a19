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
  const [row] = await em.execute<{ prefix: string }[]>(
    `select candidate.prefix
       from generate_series(1, 1000000) as n,
            lateral (select ?::text || case n when 1 then '' else n::text end as prefix) as candidate
      where not exists (select 1 from companies where issue_prefix = candidate.prefix)
      order by n
      limit 1`,
    [base],
  );
  if (!row) throw new Error(`Every issue prefix that begins with ${base} is taken`);
  return row.prefix;
}
