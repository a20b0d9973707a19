import { Client, type ClientConfig } from 'pg';

type Send = (this: Client, ...args: unknown[]) => unknown;

/** How long the other side may take to hang up after it was told that this one does, in milliseconds. */
const HANG_UP_MS = 1_000;

export interface WatchedClientConfig extends ClientConfig {
  /** How long a statement may go unanswered, in milliseconds; for ever unless given. */
  readonly unansweredMs?: number;
}

/**
 * A connection that is given up when nothing comes back. One whose other side vanished without a word looks alive for a
 * quarter of an hour, or for ever: whoever waits for it would do so that long, and a pool that is full of such connections
 * serves nobody. What was under way on it may or may not have happened, as on any connection that is lost.
 */
export class WatchedClient extends Client {
  private readonly unansweredMs: number | undefined;

  constructor(config?: WatchedClientConfig) {
    super(config);
    this.unansweredMs = config?.unansweredMs;
  }

  override query(...args: never[]): never {
    const answer = (super.query as Send).apply(this, args);
    if (this.unansweredMs !== undefined && answer instanceof Promise) this.giveUpAfter(this.unansweredMs, answer);
    return answer as never;
  }

  override end(...args: never[]): never {
    const timer = this.hangUpIn(HANG_UP_MS);
    this.once('end', () => clearTimeout(timer));
    return (super.end as Send).apply(this, args) as never;
  }

  private giveUpAfter(ms: number, answer: Promise<unknown>): void {
    const timer = this.hangUpIn(ms);
    const answered = () => clearTimeout(timer);
    answer.then(answered, answered);
  }

  /** Everything that waits for an answer fails then, as on a connection that was terminated. */
  private hangUpIn(ms: number): NodeJS.Timeout {
    return setTimeout(() => this.connection.stream.destroy(), ms).unref();
  }
}
