import type { EntityManager } from '@mikro-orm/postgresql';
import { QuotaReachedError } from './company-errors.js';

/** What a company may have only so many of. */
export type Quota = 'agents' | 'environments';

/** What a company may have at most, and what counts: what was deleted or can never run again does not. */
const QUOTAS: Record<Quota, { limit: string; counted: string }> = {
  agents: {
    limit: 'max_agents',
    counted: `agents where deleted_at is null and status <> 'terminated' and company_id = ?`,
  },
  environments: { limit: 'max_environments', counted: 'environments where deleted_at is null and company_id = ?' },
};

/**
 * Checks that a company may have one more, and keeps it so until the transaction ends: whoever adds another waits for the
 * company's row, the first in the order of locks. What is counted lives in modules above this one, so this reads their
 * tables.
 * @throws QuotaReachedError
 */
export async function assertRoomFor(em: EntityManager, companyId: string, quota: Quota): Promise<void> {
  const { limit, counted } = QUOTAS[quota];
  const [company] = await em.execute<{ most: number | null }[]>(
    `select ${limit} as most from companies where id = ? for no key update`,
    [companyId],
  );
  const most = company?.most ?? null;
  if (most === null) return;
  // A statement of its own: only a snapshot that is taken after the lock sees what its last holder added.
  const [{ count }] = await em.execute<[{ count: number }]>(
    `select count(*)::integer from (select from ${counted} limit ?) as counted`,
    [companyId, most],
  );
  if (count >= most) throw new QuotaReachedError(quota, most);
}
