import { Agent } from './agent.entity.js';

const NOW = new Date('2026-01-01T12:00:00Z');
const after = (seconds: number, from = NOW) => new Date(from.getTime() + seconds * 1000);

function agentWith(heartbeat: object, fields: Partial<Agent> = {}): Agent {
  return Object.assign(new Agent(), { status: 'idle', adapterConfig: {}, runtimeConfig: { heartbeat } }, fields);
}

describe('the timer of an agent', () => {
  describe('planTimer', () => {
    it('spreads the first beat over one interval', () => {
      const dueAt = (random: number) => {
        const agent = agentWith({ enabled: true, intervalSec: 100 });
        agent.planTimer(NOW, () => random);
        return agent.nextTimerAt;
      };
      expect(dueAt(0)).toEqual(after(100));
      expect(dueAt(0.25)).toEqual(after(75));
      expect(dueAt(1 - Number.EPSILON)?.getTime()).toBeGreaterThan(NOW.getTime());
    });

    it('waits at most 5 minutes for the first beat where no interval is said', () => {
      const agent = agentWith({ enabled: true });
      agent.planTimer(NOW, () => 0);
      expect(agent.nextTimerAt).toEqual(after(300));
    });

    it('leaves a beat alone that is set, even one that is due', () => {
      const agent = agentWith({ enabled: true }, { nextTimerAt: after(-5) });
      agent.planTimer(NOW);
      expect(agent.nextTimerAt).toEqual(after(-5));
    });

    it.each([
      ['whose timer is off', agentWith({ enabled: false }, { nextTimerAt: after(5) })],
      ['that says nothing of timers', agentWith({}, { nextTimerAt: after(5) })],
      ['that is terminated', agentWith({ enabled: true }, { nextTimerAt: after(5), status: 'terminated' })],
    ])('sets none for an agent %s', (_name, agent) => {
      agent.planTimer(NOW);
      expect(agent.nextTimerAt).toBeNull();
    });
  });

  describe('beat', () => {
    it.each([
      ['on time', 0, 60],
      ['a little late', -7, 53],
      ['exactly one interval late', -60, 60],
      ['many intervals late', -3607, 53],
    ])('counts from the beat before: %s', (_name, due, next) => {
      const agent = agentWith({ enabled: true, intervalSec: 60 }, { nextTimerAt: after(due) });
      agent.beat(NOW);
      expect(agent.nextTimerAt).toEqual(after(next));
    });

    it('leaves a beat alone that is not due yet', () => {
      const agent = agentWith({ enabled: true, intervalSec: 60 }, { nextTimerAt: after(1) });
      agent.beat(NOW);
      expect(agent.nextTimerAt).toEqual(after(1));
    });

    it('ends where the timer was turned off', () => {
      const agent = agentWith({ enabled: false }, { nextTimerAt: after(-1) });
      agent.beat(NOW);
      expect(agent.nextTimerAt).toBeNull();
    });
  });

  describe('change', () => {
    it('keeps the beat while the interval stays, and forgets it with another one', () => {
      const agent = agentWith({ enabled: true, intervalSec: 60 }, { nextTimerAt: after(10) });
      agent.change({ runtimeConfig: { heartbeat: { enabled: true, intervalSec: 60, maxConcurrentRuns: 1 } } });
      expect(agent.nextTimerAt).toEqual(after(10));
      agent.change({ runtimeConfig: { heartbeat: { enabled: true, intervalSec: 61 } } });
      expect(agent.nextTimerAt).toBeNull();
    });
  });

  describe('resume', () => {
    it('moves a beat on that passed during the pause, and keeps one that did not', () => {
      const passed = agentWith({ enabled: true, intervalSec: 60 }, { nextTimerAt: after(-90) });
      passed.resume(NOW);
      expect(passed.nextTimerAt).toEqual(after(30));
      const coming = agentWith({ enabled: true, intervalSec: 60 }, { nextTimerAt: after(9) });
      coming.resume(NOW);
      expect(coming.nextTimerAt).toEqual(after(9));
    });
  });

  it('ends with the agent', () => {
    const agent = agentWith({ enabled: true }, { nextTimerAt: after(9) });
    agent.terminate();
    expect(agent.nextTimerAt).toBeNull();
  });
});
