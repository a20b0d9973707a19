import { FlushMode, TransactionPropagation, type EntityManager } from '@mikro-orm/core';

/**
 * Runs `work` in the current transaction, or in a new one on a fresh context that commits when it returns. Within it
 * the injected `EntityManager` is the transaction's own. Joined work is flushed by the outer transaction's end, so a
 * method that promises a domain error for a violated constraint flushes itself.
 */
export function inTransaction<T>(em: EntityManager, work: () => Promise<T>): Promise<T> {
  return em.transactional(work, { propagation: TransactionPropagation.REQUIRED, flushMode: FlushMode.COMMIT });
}
