import { Client, type PoolClient } from 'pg';

type Send = (this: Client, ...args: unknown[]) => unknown;

/**
 * A connection that the pool forgets when a transaction on it can neither begin nor be rolled back. What is between
 * MikroORM and the pool hands a connection back only after a commit or rollback that succeeded: every transaction whose
 * connection was lost would take one out of the pool for good, and a full pool neither serves nor closes.
 */
export class PooledClient extends Client {
  override query(...args: never[]): never {
    const answer = (super.query as Send).apply(this, args);
    if (isLastResort(args[0])) this.forgetUnlessAnswered(answer as Promise<unknown>);
    return answer as never;
  }

  private forgetUnlessAnswered(answer: Promise<unknown>): void {
    answer.catch((error: Error) => (this as unknown as PoolClient).release(error));
  }
}

const isLastResort = (statement: unknown) => statement === 'begin' || statement === 'rollback';
