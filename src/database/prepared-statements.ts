import { isRaw, JsonProperty, Utils } from '@mikro-orm/core';
import { PostgreSqlConnection, PostgreSqlDriver, type Configuration } from '@mikro-orm/postgresql';
import { CompiledQuery } from 'kysely';
import { isPlanOutdated } from './database-errors.js';

/** A statement in PostgreSQL's own form: `$1`, `$2`, … for the values beside it. */
interface BoundStatement {
  readonly sql: string;
  readonly values: unknown[];
}

/**
 * Sends values beside a statement where MikroORM writes them into it, so that PostgreSQL parses and plans a statement
 * once for each connection and not at each call: `PooledClient` prepares what it is sent this way.
 */
class BindingConnection extends PostgreSqlConnection {
  override async execute<T>(
    query: Parameters<PostgreSqlConnection['execute']>[0],
    params: Parameters<PostgreSqlConnection['execute']>[1] = [],
    method: 'all' | 'get' | 'run' = 'all',
    ctx?: Parameters<PostgreSqlConnection['execute']>[3],
  ): Promise<T> {
    await this.ensureConnection();
    const { sql, values } = this.bind(query, params);
    const client = (ctx ?? this.getClient()) as ReturnType<typeof this.getClient>;
    const send = () => client.executeQuery(CompiledQuery.raw(sql, values));
    const result = await send().catch((error: unknown) => {
      // A transaction cannot go on after an error; what stands alone can be sent again.
      if (ctx || !isPlanOutdated(error)) throw error;
      return send();
    });
    return this.transformRawResult<T>(result, method);
  }

  private bind(
    query: Parameters<PostgreSqlConnection['execute']>[0],
    params: Parameters<PostgreSqlConnection['execute']>[1],
  ): BoundStatement {
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
