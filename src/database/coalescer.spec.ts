import { Coalescer } from './coalescer.js';

/** Carries out batches when the test says so, and keeps what they were. */
class Desk {
  readonly batches: number[][] = [];
  private readonly open: (() => void)[] = [];

  /** Doubles numbers; refuses 13 alone, and fails a batch that holds 666. */
  readonly carryOut = async (inputs: number[]): Promise<(number | Error)[]> => {
    this.batches.push(inputs);
    await new Promise<void>((resolve) => this.open.push(resolve));
    if (inputs.includes(666)) throw new Error('the whole batch failed');
    return inputs.map((input) => (input === 13 ? new Error('13 is refused') : input * 2));
  };

  /** Lets the batch that is under way end, and waits until what follows has begun. */
  async next(): Promise<void> {
    this.open.shift()?.();
    await turn();
  }
}

/** After whatever has been asked for by now. */
const turn = () => new Promise((resolve) => setTimeout(() => setImmediate(resolve)));

describe(Coalescer.name, () => {
  let desk: Desk;
  beforeEach(() => void (desk = new Desk()));

  const coalescer = (isRetriable: boolean, max?: number, utilisation = () => 0) =>
    new Coalescer(desk.carryOut, () => isRetriable, { max, utilisation });
  /** Asks for all at once, and answers what became of each. */
  const ask = (of: Coalescer<number, number>, ...inputs: number[]) =>
    Promise.allSettled(inputs.map((input) => of.run(input))).then((results) =>
      results.map((one) => (one.status === 'fulfilled' ? one.value : (one.reason as Error).message)),
    );

  it('carries out together what arrives together, each with its own answer', async () => {
    const answers = ask(coalescer(true), 1, 2, 3);
    await turn();
    await desk.next();
    expect(await answers).toEqual([2, 4, 6]);
    expect(desk.batches).toEqual([[1, 2, 3]]);
  });

  it('begins at once when nothing is under way', async () => {
    const idle = coalescer(true);
    for (const input of [1, 2]) {
      const answer = idle.run(input);
      await turn();
      await desk.next();
      expect(await answer).toBe(input * 2);
    }
    expect(desk.batches).toEqual([[1], [2]]);
  });

  it('collects while a batch is under way, one batch at a time', async () => {
    const busy = coalescer(true);
    const first = ask(busy, 1);
    await turn();
    const later = [ask(busy, 2), ask(busy, 3)];
    await turn();
    expect(desk.batches).toEqual([[1]]);
    await desk.next();
    expect(await first).toEqual([2]);
    expect(desk.batches).toEqual([[1], [2, 3]]);
    await desk.next();
    expect(await Promise.all(later)).toEqual([[4], [6]]);
  });

  describe('in a process that is short of time', () => {
    const pressed = () => coalescer(true, undefined, () => 1);

    it('lets a batch grow to what is enough after commands that came together', async () => {
      const busy = pressed();
      const first = ask(busy, 1, 2);
      await turn();
      await desk.next();
      expect(await first).toEqual([2, 4]);
      const later = [3, 4, 5, 6, 7, 8, 9].map((input) => ask(busy, input));
      await turn();
      expect(desk.batches).toEqual([[1, 2]]);
      later.push(ask(busy, 10));
      await turn();
      expect(desk.batches).toEqual([
        [1, 2],
        [3, 4, 5, 6, 7, 8, 9, 10],
      ]);
      await desk.next();
      expect((await Promise.all(later)).flat()).toEqual([6, 8, 10, 12, 14, 16, 18, 20]);
    });

    it('waits for what is enough no longer than it may', async () => {
      const busy = pressed();
      const first = ask(busy, 1, 2);
      await turn();
      await desk.next();
      await first;
      const askedAt = performance.now();
      const later = ask(busy, 3);
      while (desk.batches.length === 1) await turn();
      expect(performance.now() - askedAt).toBeGreaterThan(30);
      await desk.next();
      expect(await later).toEqual([6]);
    });

    it('does not wait after commands that came to nothing', async () => {
      const nothing = new Coalescer(
        (inputs: number[]) => Promise.resolve(inputs.map(() => null)),
        () => true,
        { utilisation: () => 1 },
      );
      const askedAt = performance.now();
      for (let time = 0; time < 10; time++) await Promise.all([nothing.run(1), nothing.run(2)]);
      expect(performance.now() - askedAt).toBeLessThan(30);
    });

    it('does not wait after a command that came alone', async () => {
      const busy = pressed();
      for (const input of [1, 2]) {
        const answer = busy.run(input);
        await turn();
        await desk.next();
        expect(await answer).toBe(input * 2);
      }
    });
  });

  it('carries out what does not fit in one batch in the next, in order', async () => {
    const answers = ask(coalescer(true, 2), 1, 2, 3, 4, 5);
    await turn();
    for (let batch = 0; batch < 3; batch++) await desk.next();
    expect(await answers).toEqual([2, 4, 6, 8, 10]);
    expect(desk.batches).toEqual([[1, 2], [3, 4], [5]]);
  });

  it('refuses one command without touching the others', async () => {
    const answers = ask(coalescer(true), 1, 13, 3);
    await turn();
    await desk.next();
    expect(await answers).toEqual([2, '13 is refused', 6]);
    expect(desk.batches).toHaveLength(1);
  });

  it('tries each alone when a batch failed that surely changed nothing', async () => {
    const answers = ask(coalescer(true), 1, 666, 13, 4);
    await turn();
    for (let batch = 0; batch < 5; batch++) await desk.next();
    expect(await answers).toEqual([2, 'the whole batch failed', '13 is refused', 8]);
    expect(desk.batches).toEqual([[1, 666, 13, 4], [1], [666], [13], [4]]);
  });

  it('fails all of a batch that may have changed something: nothing is done twice', async () => {
    const answers = ask(coalescer(false), 1, 666);
    await turn();
    await desk.next();
    expect(await answers).toEqual(['the whole batch failed', 'the whole batch failed']);
    expect(desk.batches).toHaveLength(1);
  });

  it('tries a command that failed alone only once', async () => {
    const answers = ask(coalescer(true), 666);
    await turn();
    await desk.next();
    expect(await answers).toEqual(['the whole batch failed']);
    expect(desk.batches).toHaveLength(1);
  });

  it('goes on after a failure', async () => {
    const tried = coalescer(false);
    const failed = ask(tried, 666);
    await turn();
    const next = ask(tried, 1);
    await desk.next();
    await desk.next();
    expect(await failed).toEqual(['the whole batch failed']);
    expect(await next).toEqual([2]);
  });
});
