import { isRaw, JsonProperty, Utils } from '@mikro-orm/core';
import { PostgreSqlConnection, PostgreSqlDriver, type Configuration, type EntityManager } from '@mikro-orm/postgresql';
import { CompiledQuery, type ControlledTransaction, type DatabaseConnection, type Kysely } from 'kysely';
import { isPlanOutdated } from './database-errors.js';

/** A statement in PostgreSQL's own form: `$1`, `$2`, … for the values beside it. */
interface BoundStatement {
  readonly sql: string;
  readonly values: unknown[];
}

type Execute = Parameters<PostgreSqlConnection['execute']>;
type Begin = Parameters<PostgreSqlConnection['begin']>;
type Commit = Parameters<PostgreSqlConnection['commit']>;

/**
 * Sends values beside a statement where MikroORM writes them into it, so that PostgreSQL parses and plans a statement
 * once for each connection and not at each call: `PooledClient` prepares what it is sent this way.
 *
 * Statements of a transaction are sent when they are asked for, in that order, whether or not those before them have been
 * answered. PostgreSQL carries them out one after the other, each with a snapshot of its own, and none after one that
 * failed: what does not need the answer of the one before need not wait for it.
 */
class BindingConnection extends PostgreSqlConnection {
  /** What transactions are on: between it and them Kysely lets one statement through at a time. */
  private readonly lines = new WeakMap<object, DatabaseConnection>();
  /** What went together with the commits of transactions. */
  private readonly last = new WeakMap<object, Promise<unknown>>();

  override async begin(options?: Begin[0]): ReturnType<PostgreSqlConnection['begin']> {
    const transaction = await super.begin(options);
    await transaction.getExecutor().provideConnection((line) => {
      this.lines.set(transaction, line);
      return Promise.resolve();
    });
    return transaction;
  }

  override async execute<T>(
    query: Execute[0],
    params: Execute[1] = [],
    method: 'all' | 'get' | 'run' = 'all',
    ctx?: Execute[3],
  ): Promise<T> {
    const { sql, values } = this.bind(query, params);
    const statement = CompiledQuery.raw(sql, values);
    const line = ctx ? this.lineOf(ctx as ControlledTransaction<unknown>) : null;
    const result = line ? await line.executeQuery(statement) : await this.sendAlone(statement);
    return this.transformRawResult<T>(result, method);
  }

  /** Sends a statement for which the transaction's commit, which has to come next, does not wait. */
  sendWithCommit(sql: string, params: Execute[1], transaction: object): void {
    const answer = this.execute(sql, params, 'run', transaction);
    // Whoever commits is told.
    answer.catch(() => undefined);
    this.last.set(transaction, answer);
  }

  /** @throws the error of what was sent with it, if that is why nothing was committed. */
  override async commit(...args: Commit): Promise<void> {
    try {
      await super.commit(...args);
    } catch (error) {
      await this.last.get(args[0])?.catch((reason: Error) => {
        throw this.platform.getExceptionConverter().convertException(reason);
      });
      throw error;
    }
  }

  /** @throws Error once the transaction has ended: its line may be somebody else's by then. */
  private lineOf(transaction: ControlledTransaction<unknown>): DatabaseConnection {
    if (transaction.isCommitted || transaction.isRolledBack) {
      throw new Error('A statement was asked for in a transaction that has ended');
    }
    return this.lines.get(transaction)!;
  }

  /** Unlike a transaction, which cannot go on after an error, what stands alone can be sent again. */
  private async sendAlone(statement: CompiledQuery) {
    await this.ensureConnection();
    const client: Kysely<unknown> = this.getClient();
    return client.executeQuery(statement).catch((error: unknown) => {
      if (!isPlanOutdated(error)) throw error;
      return client.executeQuery(statement);
    });
  }

  private bind(query: Execute[0], params: Execute[1]): BoundStatement {
    const raw = typeof query === 'string' ? null : isRaw(query) ? query : query.toRaw();
    const values: unknown[] = [];
    const sql = this.numbered(raw?.sql ?? (query as string), (raw?.params ?? params) as unknown[], values);
    return { sql, values };
  }

  /** The same reading of `?`, `??` and `\?` as `Platform.formatQuery` has. */
  private numbered(sql: string, params: readonly unknown[], values: unknown[]): string {
    if (params.length === 0) return sql;
    let next = 0;
    return sql.replace(/\\\?|\?\??/g, (mark) => {
      if (mark === '\\?') return '?';
      const param = params[next++];
      return mark === '??' ? this.platform.quoteIdentifier(param as string) : this.placeholder(param, values);
    });
  }

  private placeholder(param: unknown, values: unknown[]): string {
    if (isRaw(param)) return this.numbered(param.sql, param.params, values);
    if (Array.isArray(param)) return param.map((one) => this.placeholder(one, values)).join(', ');
    return `$${values.push(bound(param))}`;
  }
}

function bound(param: unknown): unknown {
  if (param instanceof Date) return param.toISOString();
  const isJson = Utils.isPlainObject(param) || (param as { [JsonProperty]?: true } | null | undefined)?.[JsonProperty];
  return isJson ? JSON.stringify(param) : param;
}

/** PostgreSQL over connections that bind. */
export class BindingDriver extends PostgreSqlDriver {
  protected override readonly connection: PostgreSqlConnection;

  constructor(config: Configuration) {
    super(config);
    this.connection = new BindingConnection(config);
  }
}

/**
 * Sends a transaction's last statement together with its commit. Called before the commit (`beforeTransactionCommit`), which
 * fails with it.
 */
export function sendWithCommit(em: EntityManager, sql: string, params: unknown[], transaction: object): void {
  (em.getConnection() as BindingConnection).sendWithCommit(sql, params, transaction);
}
