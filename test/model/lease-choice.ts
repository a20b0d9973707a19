import fc from 'fast-check';
import { Ask, LeaveLine, StandInLine, TryInLine, Write } from './lease-holders.js';
import type { Harbour } from './lease-model.js';
import { Clock, Force, Reap, Revoke, SetCapacity, Steer, Sweep } from './lease-operators.js';
import { Crash, Dispatch, Finish, Heartbeat, MakePlace, Wake } from './lease-runners.js';
import { InTurn, Together, type LeaseStep } from './lease-steps.js';
import { SPOTS, SPOTS_WITH_PLACES } from './lease-setting.js';
import type { LeaseWorld } from './lease-world.js';

const index = fc.nat(5);
const spot = fc.nat(SPOTS - 1);

const wake = fc.tuple(fc.nat(2), spot).map(([agent, at]) => new Wake(agent, at));
const dispatch = fc.constant(new Dispatch());
const makePlace = index.map((at) => new MakePlace(at));
const heartbeat = fc.constant(new Heartbeat());
const finish = fc
  .tuple(index, fc.constantFrom('succeeded', 'succeeded', 'failed', 'transient', 'timed out', 'shut down'), fc.nat(3))
  .map(([at, how, late]) => new Finish(at, how, late === 0));
const ask = fc.tuple(spot, fc.option(index)).map(([at, by]) => new Ask(at, by));
const standInLine = spot.map((at) => new StandInLine(at));
const tryInLine = index.map((at) => new TryInLine(at));
const write = fc
  .tuple(index, fc.constantFrom('renew', 'release'), fc.constantFrom('token', 'token', 'stale', 'none'))
  .map((fields) => new Write(...fields));
const reap = fc.constant(new Reap());
const sweep = fc.constant(new Sweep());
const clock = fc.constantFrom(200, 200, 400, 1000, -200).map((sec) => new Clock(sec));
const capacity = fc.tuple(fc.nat(4), fc.constantFrom(null, 1, 2, 3)).map((fields) => new SetCapacity(...fields));
const steer = fc
  .tuple(
    fc.nat(4),
    fc.constantFrom('drain', 'activate', 'activate', 'activate', 'archive'),
    fc.constantFrom(undefined, 0, 300),
  )
  .map((fields) => new Steer(...fields));
const revoke = fc.tuple(index, fc.constantFrom(0, 300)).map((fields) => new Revoke(...fields));
const force = index.map((at) => new Force(at));

/** What can be done at the same moment as something else. */
const atOnce: fc.Arbitrary<LeaseStep>[] = [
  ...[dispatch, dispatch, dispatch, makePlace, finish, finish, heartbeat, ask, ask, tryInLine, write, write],
  ...[reap, sweep, capacity, steer, revoke, force],
];
/** One who waits is looked after by one process: he does not try twice at once. */
const isPossible = (step: LeaseStep, index: number, steps: LeaseStep[]) =>
  !(step instanceof TryInLine) || steps.findIndex((other) => other instanceof TryInLine) === index;
const together = fc
  .array(fc.oneof(...atOnce), { minLength: 2, maxLength: 3 })
  .map((steps) => new Together(steps.filter(isPossible)));

/** A run leaves a place, and another one comes that may take it over. */
const succession = fc
  .tuple(fc.constantFrom(...SPOTS_WITH_PLACES), fc.constantFrom('succeeded', 'succeeded', 'transient', 'shut down'))
  .map(([at, how]) => {
    const starts = [new Wake(0, at), new Dispatch()];
    return new InTurn([...starts, new MakePlace(0), ...starts.slice(0, 1), new Finish(0, how, false), new Dispatch()]);
  });

/** What is listed twice happens more often. */
export const anyLeaseStep: fc.Arbitrary<fc.AsyncCommand<Harbour, LeaseWorld>>[] = [
  ...[wake, wake, wake, dispatch, dispatch, dispatch, makePlace, makePlace, finish, finish, heartbeat],
  ...[ask, ask, standInLine, standInLine, tryInLine, tryInLine, write, write],
  ...[reap, reap, sweep, clock, clock, capacity, steer, revoke, force],
  ...[together, together, together, together, together],
  ...[succession, succession, succession],
  index.map((at) => new LeaveLine(at)),
  fc.constant(new Crash()),
];

/** After all: time passes until nobody can hold anything any more. A sweep takes down a few places at once. */
export const theEnd: readonly LeaseStep[] = [
  new Clock(10_000),
  new Reap(),
  // What is kept after that is not kept for ever.
  new Clock(10_000),
  ...Array.from({ length: 10 }, () => new Sweep()),
];
