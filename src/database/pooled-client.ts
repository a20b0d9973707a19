import type { PoolClient, QueryResult } from 'pg';
import { isPlanOutdated } from './database-errors.js';
import { WatchedClient } from './watched-client.js';

type Send = (this: WatchedClient, ...args: unknown[]) => unknown;

const BEGIN = 'begin';
const COMMIT = 'commit';
const ROLLBACK = 'rollback';
const NOTHING: QueryResult = { command: '', rowCount: null, oid: 0, fields: [], rows: [] };

/** Most statements that a connection keeps prepared, and most values that one of them has. */
const MAX_PREPARED = 500;
const MAX_VALUES = 200;

/** The name of each prepared statement by its text: the same on every connection. */
const names = new Map<string, string>();
let named = 0;

/**
 * A connection that the pool forgets when a transaction on it cannot be rolled back. What is between MikroORM and the pool
 * hands a connection back only after a commit or rollback that succeeded: every transaction whose connection was lost would
 * take one out of the pool for good, and a full pool neither serves nor closes.
 *
 * Statements that come with values are prepared: parsed and planned once for each connection. A
 * transaction begins with its first statement, for which nobody waits twice; one without a statement never does.
 */
export class PooledClient extends WatchedClient {
  private beginning = false;

  override query(...args: never[]): never {
    const [text, values] = args as unknown[];
    if (text === BEGIN) {
      this.beginning = true;
      return Promise.resolve(NOTHING) as never;
    }
    if (this.beginning) {
      this.beginning = false;
      if (text === COMMIT || text === ROLLBACK) return Promise.resolve(NOTHING) as never;
      const begun = (super.query as unknown as Send).call(this, BEGIN) as Promise<unknown>;
      const answer = this.send(args, text, values) as Promise<unknown>;
      return Promise.all([begun, answer]).then(([, result]) => result) as never;
    }
    return this.send(args, text, values);
  }

  private send(args: never[], text: unknown, values: unknown): never {
    const name = nameOf(text, values);
    const sent = name === undefined ? args : [{ name, text, values }];
    const answer = (super.query as unknown as Send).apply(this, sent);
    if (text === ROLLBACK) this.forgetUnlessAnswered(answer as Promise<unknown>);
    if (text === COMMIT) return (answer as Promise<QueryResult>).then(refuseRollback) as never;
    if (name !== undefined) forgetWhenOutdated(answer as Promise<unknown>, text as string);
    return answer as never;
  }

  private forgetUnlessAnswered(answer: Promise<unknown>): void {
    answer.catch((error: Error) => (this as unknown as PoolClient).release(error));
  }
}

/** A commit after a statement that failed is answered as a success of its own: nothing was committed. */
function refuseRollback(answer: QueryResult): QueryResult {
  if (answer.command !== 'COMMIT') throw new Error('A statement had failed: the transaction was rolled back');
  return answer;
}

/** What has very many values was put together for one occasion: its text will not come again. */
function nameOf(text: unknown, values: unknown): string | undefined {
  if (typeof text !== 'string' || !Array.isArray(values) || values.length === 0 || values.length > MAX_VALUES) return;
  const known = names.get(text);
  if (known !== undefined || names.size >= MAX_PREPARED) return known;
  const name = `berth_${++named}`;
  names.set(text, name);
  return name;
}

/** Under another name it is prepared anew, on this connection and on the others. */
function forgetWhenOutdated(answer: Promise<unknown>, text: string): void {
  answer.catch((error: unknown) => {
    if (isPlanOutdated(error)) names.delete(text);
  });
}
