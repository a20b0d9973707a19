import { setImmediate as nextTurn } from 'node:timers/promises';
import { AgentTurns } from './agent-turns.js';

describe(AgentTurns.name, () => {
  let turns: AgentTurns;
  let seen: string[];
  beforeEach(() => {
    turns = new AgentTurns();
    seen = [];
  });

  const enter = async (name: string) => {
    const leave = await turns.enter();
    seen.push(name);
    return leave;
  };

  it('lets somebody who comes alone in at once, time after time', async () => {
    for (const name of ['a', 'b']) (await enter(name))();
    expect(seen).toEqual(['a', 'b']);
  });

  it('lets one in after the other, in the order in which they came', async () => {
    const leave = await enter('a');
    const others = ['b', 'c'].map(enter);
    await nextTurn();
    expect(seen).toEqual(['a']);
    leave();
    const next = await others[0];
    await nextTurn();
    expect(seen).toEqual(['a', 'b']);
    next();
    await others[1];
    expect(seen).toEqual(['a', 'b', 'c']);
  });

  it('holds nobody up for ever who never hears that it is his turn', async () => {
    await enter('a');
    const askedAt = performance.now();
    const leave = await enter('b');
    expect(performance.now() - askedAt).toBeGreaterThan(40);
    leave();
    await enter('c');
    expect(seen).toEqual(['a', 'b', 'c']);
  });
});
