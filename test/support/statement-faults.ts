import pg from 'pg';

type Query = (this: pg.Client, ...args: unknown[]) => unknown;

/** Makes statements of this process fail on purpose, whoever sends them. */
export class StatementFaults {
  private readonly original = pg.Client.prototype.query as Query;
  /** The texts of the statements that were sent inside transactions since `failAt`, the failed one last. */
  readonly sent: string[] = [];
  private failIndex = Infinity;

  constructor() {
    const faults = this;
    pg.Client.prototype.query = function (this: pg.Client, ...args: unknown[]) {
      return faults.refuses(args[0]) ? faults.fail(args) : faults.original.apply(this, args);
    } as typeof pg.Client.prototype.query;
  }

  /** The statement with this index, counted over all that follow a `begin` up to and including its `commit`, fails. */
  failAt(index: number): void {
    this.failIndex = index;
    this.sent.length = 0;
  }

  /** Lets everything through again; keep calling `failAt` before that. */
  stop(): void {
    pg.Client.prototype.query = this.original as typeof pg.Client.prototype.query;
  }

  private refuses(query: unknown): boolean {
    const text = (typeof query === 'string' ? query : ((query as { text?: string })?.text ?? '')).trim();
    const opens = text === 'begin';
    if (text === 'rollback' || (this.sent.length === 0 && !opens) || this.sent.at(-1) === 'commit') return false;
    this.sent.push(text);
    return this.sent.length - 1 === this.failIndex;
  }

  private fail(args: unknown[]): unknown {
    const error = Object.assign(new Error('A statement failed on purpose'), { code: 'XX000' });
    const callback = args.at(-1);
    if (typeof callback === 'function') return void setImmediate(callback as (error: Error) => void, error);
    return Promise.reject(error);
  }
}
