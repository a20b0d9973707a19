import pg from 'pg';

/** Sent now and then, whatever is done: notifications, and the look for issues that were freed and not passed on. */
const NOW_AND_THEN = /pg_notify|w\.deferred_issue_id is not null/;

type Query = (this: pg.Client, ...args: unknown[]) => unknown;

/** What was sent to PostgreSQL. */
export interface SentCounts {
  /** How often something was sent on a connection on which nothing was under way: what goes with it is not waited for. */
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
  const underWay = new Map<pg.Client, number>();
  let roundTrips = 0;
  Reflect.set(pg.Client.prototype, 'query', function (this: pg.Client, ...args: unknown[]) {
    const [query] = args as [string | { text: string }];
    const text = (typeof query === 'string' ? query : query.text).trim().toLowerCase();
    onSent(text);
    const answer = original.apply(this, args) as Promise<unknown>;
    if (NOW_AND_THEN.test(text)) return answer;
    sent.push(text);
    const before = underWay.get(this) ?? 0;
    if (before === 0) roundTrips += 1;
    underWay.set(this, before + 1);
    const answered = () => underWay.set(this, underWay.get(this)! - 1);
    answer.then(answered, answered);
    return answer;
  });
  try {
    await work();
  } finally {
    Reflect.set(pg.Client.prototype, 'query', original);
  }
  const begun = sent.filter((text) => text === 'begin').length;
  const commits = sent.filter((text) => text === 'commit').length;
  const inTransactions = commits > 0 || begun > 0;
  const alone = inTransactions
    ? 0
    : sent.filter((text) => /^(insert|update|delete|with\b.*\b(update|insert))\b/s.test(text)).length;
  return { roundTrips, statements: sent.length - begun - commits, commits: commits + alone };
}
