/** Lets loops sleep until something happens that concerns them all, without missing what happens while they are awake. */
export class Nudge {
  /** How many nudges there have been. */
  count = 0;
  private waiting: (() => void)[] = [];

  all(): void {
    this.count += 1;
    this.wake(Infinity);
  }

  /** For what one of them may be enough for; the others sleep on, unless that one wakes them. */
  one(): void {
    this.count += 1;
    this.wake(1);
  }

  /** Wakes so many of those that sleep. */
  wake(most: number): void {
    for (const wake of this.waiting.splice(0, most)) wake();
  }

  /** Resolves at the first nudge after `seen` of them, or after `timeoutMs`. */
  since(seen: number, timeoutMs: number): Promise<void> {
    if (this.count !== seen) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.waiting = this.waiting.filter((one) => one !== done);
        resolve();
      }, timeoutMs);
      this.waiting.push(done);
    });
  }
}
