import { Nudge } from './nudge.js';

const NEVER_MS = 60_000;

describe(Nudge.name, () => {
  let nudge: Nudge;
  let awake: number[];

  beforeEach(() => {
    nudge = new Nudge();
    awake = [];
    for (const sleeper of [1, 2, 3, 4]) {
      void nudge.since(nudge.count, NEVER_MS).then(() => awake.push(sleeper));
    }
  });
  afterEach(() => nudge.all());

  const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

  it('wakes everybody', async () => {
    nudge.all();
    await settled();
    expect(awake).toEqual([1, 2, 3, 4]);
  });

  it('wakes one, who can wake more', async () => {
    nudge.one();
    await settled();
    expect(awake).toEqual([1]);
    nudge.wake(2);
    await settled();
    expect(awake).toEqual([1, 2, 3]);
  });

  it.each(['all', 'one'] as const)('is not missed by who was awake (%s)', async (how) => {
    const seen = nudge.count;
    nudge[how]();
    await nudge.since(seen, NEVER_MS);
  });

  it('lets nobody sleep longer than asked', async () => {
    await nudge.since(nudge.count, 1);
  });
});
