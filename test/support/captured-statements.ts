import pg from 'pg';

type Query = (this: pg.Client, ...args: unknown[]) => unknown;

/** A statement as it was sent, with the values of the first time. */
export interface CapturedStatement {
  readonly text: string;
  readonly values: readonly unknown[];
  /** During which step it was sent first. */
  readonly step: string;
}

/** Collects the statements that this process sends, each text once. */
export class CapturedStatements {
  private readonly original = Reflect.get(pg.Client.prototype, 'query') as Query;
  private readonly seen = new Map<string, CapturedStatement>();
  /** What is being done: names statements for whoever reads about them. */
  step = '';

  constructor() {
    const note = (args: unknown[]) => this.note(args);
    const { original } = this;
    Reflect.set(pg.Client.prototype, 'query', function (this: pg.Client, ...args: unknown[]) {
      note(args);
      return original.apply(this, args);
    });
  }

  /** Those that read or write rows, in the order in which they came first. */
  get all(): CapturedStatement[] {
    return [...this.seen.values()].filter(({ text }) => /^\s*(select|insert|update|delete|with)\b/i.test(text));
  }

  /** Collects no more. */
  stop(): void {
    Reflect.set(pg.Client.prototype, 'query', this.original);
  }

  private note([query, parameters]: unknown[]): void {
    const { text, values } =
      typeof query === 'string' ? { text: query, values: parameters } : (query as Record<'text' | 'values', unknown>);
    if (typeof text !== 'string' || this.seen.has(text)) return;
    this.seen.set(text, { text, values: Array.isArray(values) ? (values as unknown[]) : [], step: this.step });
  }
}
