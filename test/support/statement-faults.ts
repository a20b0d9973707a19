import { AsyncLocalStorage } from 'node:async_hooks';
import pg from 'pg';

type Query = (this: pg.Client, ...args: unknown[]) => unknown;

const FAILING = `do $$ begin raise exception 'A statement failed on purpose' using errcode = 'XX000'; end $$`;

/**
 * Makes one statement of the next transaction fail on purpose that the test itself causes. Only that transaction is counted:
 * what the process does besides, inside or outside transactions, goes through.
 */
export class StatementFaults {
  private readonly original = Reflect.get(pg.Client.prototype, 'query') as Query;
  /** The texts of the counted statements, from `begin` up to the failed one or `commit`. */
  readonly sent: string[] = [];
  private readonly caused = new AsyncLocalStorage<true>();
  private armed = false;
  private failIndex = Infinity;
  private counted: pg.Client | null = null;
  private refused = Promise.withResolvers<void>();
  private released = Promise.withResolvers<void>();
  private holdsAfterwards = false;
  private holding = false;

  constructor() {
    const intercept = (client: pg.Client, args: unknown[]) => this.intercept(client, args);
    this.replaceQuery(function (this: pg.Client, ...args) {
      return intercept(this, args);
    });
  }

  /** Counts the transaction that begins next: its statement with this index fails, `begin` being 0. */
  failAt(index: number): void {
    this.armed = true;
    this.caused.enterWith(true);
    this.failIndex = index;
    this.counted = null;
    this.sent.length = 0;
    this.holdsAfterwards = false;
    this.refused = Promise.withResolvers();
  }

  /**
   * The same; and once it has failed, every further transaction waits for `release`.
   * @returns when it has failed.
   */
  failAtAndHold(index: number): Promise<void> {
    this.failAt(index);
    this.holdsAfterwards = true;
    this.released = Promise.withResolvers();
    return this.refused.promise;
  }

  release(): void {
    this.holding = false;
    this.released.resolve();
  }

  /** Whether the counted transaction got as far as its commit without being refused. */
  get committed(): boolean {
    return this.sent.at(-1) === 'commit' && this.sent.length <= this.failIndex;
  }

  /** Lets everything through again, for good. */
  stop(): void {
    this.release();
    this.replaceQuery(this.original);
  }

  private replaceQuery(query: Query): void {
    Reflect.set(pg.Client.prototype, 'query', query);
  }

  private intercept(client: pg.Client, args: unknown[]): unknown {
    const text = textOf(args[0]);
    const pass = () => this.original.apply(client, args);
    if (text === 'begin' && this.holding) return this.released.promise.then(pass);
    return this.refuses(client, text) ? this.fail(client, text, args) : pass();
  }

  private refuses(client: pg.Client, text: string): boolean {
    if (this.armed && text === 'begin' && this.caused.getStore()) {
      this.armed = false;
      this.counted = client;
    }
    if (client !== this.counted) return false;
    this.sent.push(text);
    const fails = this.sent.length - 1 === this.failIndex;
    if (fails || text === 'commit' || text === 'rollback') this.counted = null;
    if (fails) {
      this.holding = this.holdsAfterwards;
      this.refused.resolve();
    }
    return fails;
  }

  /** In the database, which carries out nothing of the transaction after it; but for what begins and ends one. */
  private fail(client: pg.Client, text: string, args: unknown[]): unknown {
    if (!['begin', 'commit', 'rollback'].includes(text)) return this.original.call(client, FAILING);
    const error = Object.assign(new Error('A statement failed on purpose'), { code: 'XX000' });
    const callback = args.at(-1);
    if (typeof callback === 'function') return void setImmediate(callback as (error: Error) => void, error);
    return Promise.reject(error);
  }
}

function textOf(query: unknown): string {
  return (typeof query === 'string' ? query : ((query as { text?: string } | null)?.text ?? '')).trim();
}
