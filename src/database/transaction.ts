import { FlushMode, TransactionPropagation, type EntityManager } from '@mikro-orm/core';

/**
 * Runs `work` in the current transaction, or in a new one on a fresh context that commits when it returns. Within it
 * the injected `EntityManager` is the transaction's own. Joined work is flushed by the outer transaction's end, so a
 * method that promises a domain error for a violated constraint flushes itself.
 */
export function inTransaction<T>(em: EntityManager, work: () => Promise<T>): Promise<T> {
  return em.transactional(work, { propagation: TransactionPropagation.REQUIRED, flushMode: FlushMode.COMMIT });
}

/** An answer that is left to whoever needs it, if anybody: it can come with the commit of the transaction. */
export interface Unanswered<T> {
  readonly answer: Promise<T>;
}

/** Of an error the commit tells as well. */
export function unanswered<T>(answer: Promise<T>): Unanswered<T> {
  answer.catch(() => undefined);
  return { answer };
}

/**
 * The same for work whose last statements go to PostgreSQL together with the commit: it hands their answers on instead of
 * waiting for them.
 * @throws the error of those statements, where that is why nothing was committed.
 */
export async function inTransactionToItsEnd<T>(em: EntityManager, work: () => Promise<Unanswered<T>>): Promise<T> {
  let last: Unanswered<T> | undefined;
  await inTransaction(em, async () => {
    last = await work();
  }).catch(async (error: unknown) => {
    await last?.answer;
    throw error;
  });
  return last!.answer;
}
