type Result<O> = O | Error;

/** What a batch costs by itself is little for each of so many commands: more of them are not waited for. */
const ENOUGH = 8;
/** How long a process that has no time left waits for them, in milliseconds. */
const LONGEST_WAIT_MS = 40;
/** Up to the first share of its time at work a process waits for nobody, from the second on as long as it ever does. */
const RELAXED = 0.4;
const PRESSED = 0.8;

interface CoalescerOptions {
  /** Most commands in a batch. */
  readonly max?: number;
  /** The share of its time that the process was at work since the call before. */
  readonly utilisation?: () => number;
}

/**
 * Carries out commands that arrive together in one batch. At most one batch is under way; the next one collects while
 * it commits, so an idle coalescer adds no delay and a busy one sizes itself. A process that is short of time lets a
 * batch grow for a while where commands come together: it saves more than it waits.
 */
export class Coalescer<I, O> {
  private readonly queue: { input: I; resolve: (value: O) => void; reject: (error: Error) => void }[] = [];
  private readonly max: number;
  private readonly utilisation: () => number;
  private busy = false;
  /** Ends the wait for more commands. */
  private stopWaiting: () => void = () => undefined;

  /**
   * @param carryOut answers one result per command, in order; an `Error` refuses that command alone. One that came to
   *   nothing, which is answered with null, tells nobody that commands come together.
   * @param isRetriable whether a batch that failed with this error surely changed nothing, so that each of its commands
   *   may be tried alone.
   */
  constructor(
    private readonly carryOut: (inputs: I[]) => Promise<Result<O>[]>,
    private readonly isRetriable: (error: unknown) => boolean,
    { max = 64, utilisation = eventLoopUtilisation() }: CoalescerOptions = {},
  ) {
    this.max = max;
    this.utilisation = utilisation;
  }

  run(input: I): Promise<O> {
    return new Promise((resolve, reject) => {
      this.queue.push({ input, resolve, reject });
      if (this.queue.length >= ENOUGH) this.stopWaiting();
      // Commands of one turn of the event loop belong together.
      setImmediate(() => void this.flush());
    });
  }

  private async flush(): Promise<void> {
    if (this.busy || this.queue.length === 0) return;
    this.busy = true;
    const batch = this.queue.splice(0, this.max);
    let fruitful = 0;
    try {
      const results = await this.isolate(batch.map(({ input }) => input));
      fruitful = results.filter((result) => result !== null).length;
      batch.forEach(({ resolve, reject }, index) => {
        const result = results[index];
        if (result instanceof Error) reject(result);
        else resolve(result);
      });
    } catch (error) {
      for (const { reject } of batch) reject(error as Error);
    } finally {
      if (fruitful + this.queue.length > 1) await this.gather();
      this.busy = false;
      void this.flush();
    }
  }

  private async gather(): Promise<void> {
    const ms = Math.min(1, (this.utilisation() - RELAXED) / (PRESSED - RELAXED)) * LONGEST_WAIT_MS;
    if (ms < 1 || this.queue.length >= ENOUGH) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.stopWaiting = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** One bad command must not fail those that happened to arrive with it. */
  private async isolate(inputs: I[]): Promise<Result<O>[]> {
    try {
      return await this.carryOut(inputs);
    } catch (error) {
      if (inputs.length === 1 || !this.isRetriable(error)) throw error;
      const results: Result<O>[] = [];
      for (const input of inputs) {
        results.push(
          await this.carryOut([input]).then(
            ([result]) => result,
            (reason: Error) => reason,
          ),
        );
      }
      return results;
    }
  }
}

function eventLoopUtilisation(): () => number {
  let until = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, until);
    until = now;
    return utilization;
  };
}
