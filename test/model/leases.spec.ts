import fc from 'fast-check';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';
import { anyLeaseStep, theEnd } from './lease-choice.js';
import { holds } from './lease-model.js';
import { LeaseWorld } from './lease-world.js';

const {
  MODEL_RUNS = '30',
  MODEL_STEPS = '30',
  MODEL_SECONDS = '8',
  MODEL_SEED,
  MODEL_PATH,
  MODEL_REPLAY,
} = process.env;
const maxCommands = Number(MODEL_STEPS);
const seconds = Number(MODEL_SECONDS);
/** Far apart from each other, so that what a test takes is nothing beside them, in seconds. */
const TIMES = { leaseTtlSec: 500, leaseMaxLifetimeSec: 1900 };
const PROCESSES = 3;

/**
 * Whatever holders, runners, operators and the clock do, one after the other or at once: what is held is what a model of
 * a few lines says. Short and long form, and how a failure is played again, are as in `wakes.spec.ts`; the order in which
 * statements of those who act at once are carried out is a part of what the seed chooses.
 */
describe('leases', () => {
  let apps: TestApp[];
  let world: LeaseWorld;

  beforeAll(async () => {
    apps = [await startStillApp({ config: TIMES })];
    // On one host: what is bound to another one nobody here could take down.
    const config = { ...TIMES, home: apps[0].config.home };
    while (apps.length < PROCESSES) apps.push(await startStillApp({ config, database: apps[0].database }));
    world = await LeaseWorld.of(apps);
  });
  afterAll(async () => {
    console.log(`${world.played.scenarios} scenarios, ${world.played.steps} steps`);
    await world.close();
    for (const app of apps.toReversed()) await app.close();
  });

  it(
    'are held as the model says, whatever happens',
    async () => {
      const deadline = performance.now() + seconds * 1000;
      const steps = fc.commands(anyLeaseStep, { maxCommands, size: 'max', replayPath: MODEL_REPLAY });
      const property = fc.asyncProperty(steps, fc.scheduler(), async (commands, scheduler) => {
        // Passes the rest over.
        if (performance.now() > deadline) return;
        const model = await world.reset(scheduler);
        await fc.asyncModelRun(() => ({ model, real: world }), commands);
        for (const step of theEnd) if (step.check(model)) await step.run(model, world);
        expect(model.leases.filter(holds)).toEqual([]);
        await world.verify();
      });
      await fc.assert(property, {
        numRuns: Number(MODEL_RUNS),
        ...(MODEL_SEED ? { seed: Number(MODEL_SEED), path: MODEL_PATH } : {}),
      });
    },
    (seconds + 60) * 1000,
  );
});
