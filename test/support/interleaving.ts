import type fc from 'fast-check';
import type { Pool } from 'pg';
import { PooledClient } from '../../src/database/pooled-client.js';

type Query = (this: PooledClient, ...args: unknown[]) => Promise<unknown>;

/** Sent by the clock, or for others to look: neither reads nor writes what is decided about. `begin` is sent with what follows it. */
const FREE = /^begin$|pg_notify|w\.deferred_issue_id is not null/;
/** Whoever neither asks for anything nor waits for a lock after this time, in milliseconds, is not waited for. */
const PATIENCE_MS = 100;
const SHORT_MS = 2;

/**
 * Lets several who work on one database go on one statement at a time, in an order that a scheduler chooses: the same seed
 * gives the same order again. Whoever waits for another's lock is passed over until he has it.
 */
export class Interleaving {
  /** How many statements of each connection are not answered: those that are sent together wait for one lock. */
  private readonly inFlight = new Map<PooledClient, number>();
  /** When the last statement of a connection had its turn: they stay in their order, also those that are sent together. */
  private readonly turns = new WeakMap<PooledClient, Promise<void>>();
  /** Connections whose next statement waits for its turn. */
  private readonly waiting = new Set<PooledClient>();
  private changes = 0;

  constructor(
    private readonly scheduler: fc.Scheduler,
    /** Connections of its own to the same database. */
    private readonly watcher: Pool,
  ) {}

  /** @returns what each came to. @throws whatever the first of them throws that does, once all have ended. */
  async run<T>(works: (() => Promise<T>)[]): Promise<T[]> {
    const original = Reflect.get(PooledClient.prototype, 'query') as unknown as Query;
    const send = (client: PooledClient, args: unknown[]) => this.send(original, client, args);
    Reflect.set(PooledClient.prototype, 'query', function (this: PooledClient, ...args: unknown[]) {
      return send(this, args);
    });
    try {
      let unfinished = works.length;
      const over = Promise.allSettled(works.map((work) => work().finally(() => (unfinished -= 1))));
      while (unfinished > 0) {
        await this.quiet(() => unfinished);
        if (this.waiting.size > 0) await this.scheduler.waitNext(1);
      }
      const results = await over;
      const failed = results.find((result) => result.status === 'rejected');
      if (failed) throw failed.reason;
      return results.map((result) => (result as PromiseFulfilledResult<T>).value);
    } finally {
      Reflect.set(PooledClient.prototype, 'query', original);
    }
  }

  private send(query: Query, client: PooledClient, args: unknown[]): unknown {
    const text = String(args[0]);
    if (FREE.test(text)) return query.apply(client, args);
    const turn = (this.turns.get(client) ?? Promise.resolve()).then(() => this.turn(client, text));
    this.turns.set(client, turn);
    return turn.then(() => {
      const answer = query.apply(client, args);
      this.count(client, 1);
      void answer.catch(() => undefined).finally(() => this.count(client, -1));
      return answer;
    });
  }

  private count(client: PooledClient, by: number): void {
    const left = (this.inFlight.get(client) ?? 0) + by;
    if (left > 0) this.inFlight.set(client, left);
    else this.inFlight.delete(client);
    this.changes += 1;
  }

  private async turn(client: PooledClient, text: string): Promise<void> {
    this.waiting.add(client);
    this.changes += 1;
    await this.scheduler.schedule(Promise.resolve(), text.trim().replaceAll(/\s+/g, ' ').slice(0, 60));
    this.waiting.delete(client);
    this.changes += 1;
  }

  /** Everybody who has not finished waits for his turn, or for a lock that another one has. */
  private async quiet(unfinished: () => number): Promise<void> {
    let [seen, since] = [-1, performance.now()];
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      if (unfinished() === 0 || this.waiting.size >= unfinished()) return;
      if (this.changes !== seen) [seen, since] = [this.changes, performance.now()];
      const calmMs = performance.now() - since;
      if (calmMs < SHORT_MS || new Set([...this.waiting, ...this.inFlight.keys()]).size < unfinished()) {
        if (calmMs > PATIENCE_MS && this.waiting.size > 0 && this.inFlight.size === 0) return;
        continue;
      }
      if (this.waiting.size > 0 && (await this.blocked()) >= this.inFlight.size && this.changes === seen) return;
    }
  }

  private async blocked(): Promise<number> {
    const { rows } = await this.watcher.query<{ blocked: number }>(
      `select count(*)::integer as blocked from pg_stat_activity
       where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0`,
    );
    return rows[0].blocked;
  }
}
