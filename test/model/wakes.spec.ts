import fc from 'fast-check';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';
import { anyStep } from './commands.js';
import { emptyModel, World } from './world.js';

const {
  MODEL_RUNS = '15',
  MODEL_STEPS = '30',
  MODEL_SECONDS = '15',
  MODEL_SEED,
  MODEL_PATH,
  MODEL_REPLAY,
} = process.env;
const maxCommands = Number(MODEL_STEPS);
const seconds = Number(MODEL_SECONDS);

/**
 * Whatever people, agents, runners and the clock do, in any order. The short form is part of every test run and stops
 * after MODEL_SECONDS; `npm run test:model` takes its time. A failure names its seed, path and replay path: MODEL_SEED,
 * MODEL_PATH and MODEL_REPLAY play it again, with as many MODEL_STEPS.
 */
describe('wakes and runs', () => {
  let app: TestApp;
  let world: World;

  beforeAll(async () => {
    app = await startStillApp();
    world = await World.of(app);
  });
  afterAll(async () => {
    console.log(`${world.played.scenarios} scenarios, ${world.played.steps} steps`);
    await world.close();
    await app.close();
  });

  it(
    'keep every rule, whatever happens',
    async () => {
      const deadline = performance.now() + seconds * 1000;
      const steps = fc.commands(anyStep, { maxCommands, size: 'max', replayPath: MODEL_REPLAY });
      const property = fc.asyncProperty(steps, async (commands) => {
        // Passes the rest over.
        if (performance.now() > deadline) return;
        await world.reset();
        await fc.asyncModelRun(() => ({ model: emptyModel(), real: world }), commands);
      });
      await fc.assert(property, {
        numRuns: Number(MODEL_RUNS),
        ...(MODEL_SEED ? { seed: Number(MODEL_SEED), path: MODEL_PATH } : {}),
      });
    },
    (seconds + 60) * 1000,
  );
});
