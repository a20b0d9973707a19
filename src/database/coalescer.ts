type Result<O> = O | Error;

interface CoalescerOptions {
  /** Most commands in a batch. */
  readonly max?: number;
  /** Waits until a batch may be carried out; more commands come together meanwhile. @returns what to call when it has been. */
  readonly enter?: () => Promise<() => void>;
}

/**
 * Carries out commands that arrive together in one batch. At most one batch is under way; the next one collects while
 * it commits, so an idle coalescer adds no delay and a busy one sizes itself.
 */
export class Coalescer<I, O> {
  private readonly queue: { input: I; resolve: (value: O) => void; reject: (error: Error) => void }[] = [];
  private readonly max: number;
  private readonly enter: () => Promise<() => void>;
  private busy = false;

  /**
   * @param carryOut answers one result per command, in order; an `Error` refuses that command alone.
   * @param isRetriable whether a batch that failed with this error surely changed nothing, so that each of its commands
   *   may be tried alone.
   */
  constructor(
    private readonly carryOut: (inputs: I[]) => Promise<Result<O>[]>,
    private readonly isRetriable: (error: unknown) => boolean,
    { max = 64, enter = atOnce }: CoalescerOptions = {},
  ) {
    this.max = max;
    this.enter = enter;
  }

  run(input: I): Promise<O> {
    return new Promise((resolve, reject) => {
      this.queue.push({ input, resolve, reject });
      // Commands of one turn of the event loop belong together.
      setImmediate(() => void this.flush());
    });
  }

  private async flush(): Promise<void> {
    if (this.busy || this.queue.length === 0) return;
    this.busy = true;
    const leave = await this.enter();
    const batch = this.queue.splice(0, this.max);
    try {
      const results = await this.isolate(batch.map(({ input }) => input));
      batch.forEach(({ resolve, reject }, index) => {
        const result = results[index];
        if (result instanceof Error) reject(result);
        else resolve(result);
      });
    } catch (error) {
      for (const { reject } of batch) reject(error as Error);
    } finally {
      leave();
      this.busy = false;
      void this.flush();
    }
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

const atOnce = () => Promise.resolve(() => undefined);
