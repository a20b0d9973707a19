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

  const coalescer = (isRetriable: boolean, max?: number) => new Coalescer(desk.carryOut, () => isRetriable, { max });
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

  it('waits until it may go, collecting meanwhile, and says when a batch is over, also one that failed', async () => {
    const letIn: (() => void)[] = [];
    let left = 0;
    const enter = () => new Promise<() => void>((resolve) => letIn.push(() => resolve(() => void (left += 1))));
    const waiting = new Coalescer(desk.carryOut, () => false, { enter });
    const answers = [ask(waiting, 1), ask(waiting, 666)];
    await turn();
    answers.push(ask(waiting, 3));
    await turn();
    expect(desk.batches).toEqual([]);
    letIn.shift()!();
    await turn();
    expect([desk.batches, left]).toEqual([[[1, 666, 3]], 0]);
    await desk.next();
    await Promise.all(answers);
    expect([letIn.length, left]).toEqual([0, 1]);
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
