import pg from 'pg';

/** Sent now and then, whatever is done: notifications, and the look for issues that were freed and not passed on. */
const NOW_AND_THEN = /pg_notify|w\.deferred_issue_id is not null/;

type Query = (this: pg.Client, ...args: unknown[]) => unknown;

/** What was sent to PostgreSQL. */
export interface SentCounts {
  /** Everything that was waited for: each statement is sent when the one before has been answered, save `begin`. */
  roundTrips: number;
  /** Those that read or write rows. */
  statements: number;
  /** Transactions that were committed, and statements that wrote outside of one. */
  commits: number;
}

/** Counts what this process sends to PostgreSQL while `work` is done. @param onSent told of the text of each statement. */
export async function countSent(
  work: () => Promise<unknown>,
  onSent: (text: string) => void = () => undefined,
): Promise<SentCounts> {
  const original = Reflect.get(pg.Client.prototype, 'query') as Query;
  const sent: string[] = [];
  Reflect.set(pg.Client.prototype, 'query', function (this: pg.Client, ...args: unknown[]) {
    const [query] = args as [string | { text: string }];
    sent.push((typeof query === 'string' ? query : query.text).trim().toLowerCase());
    onSent(sent.at(-1)!);
    return original.apply(this, args);
  });
  try {
    await work();
  } finally {
    Reflect.set(pg.Client.prototype, 'query', original);
  }
  const own = sent.filter((text) => !NOW_AND_THEN.test(text));
  const begun = own.filter((text) => text === 'begin').length;
  const commits = own.filter((text) => text === 'commit').length;
  const inTransactions = commits > 0 || begun > 0;
  const alone = inTransactions
    ? 0
    : own.filter((text) => /^(insert|update|delete|with\b.*\b(update|insert))\b/s.test(text)).length;
  return { roundTrips: own.length - begun, statements: own.length - begun - commits, commits: commits + alone };
}
