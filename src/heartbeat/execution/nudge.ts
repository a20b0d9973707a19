/** Lets loops sleep until something happens that concerns them all, without missing what happens while they are awake. */
export class Nudge {
  /** How many nudges there have been. */
  count = 0;
  private waiting: (() => void)[] = [];

  all(): void {
    this.count += 1;
    this.wake(Infinity);
  }

  /**
   * For what one of them may be enough for; the others sleep on, unless that one wakes them.
   * @returns whether one slept.
   */
  one(): boolean {
    this.count += 1;
    return this.wake(1) > 0;
  }

  /** Wakes so many of those that sleep. @returns how many did. */
  wake(most: number): number {
    const woken = this.waiting.splice(0, most);
    for (const wake of woken) wake();
    return woken.length;
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
