import { Logger } from '@nestjs/common';
import { ChaosRun } from './chaos-run.js';
import { Deployment } from './deployment.js';
import { planFaults } from './faults.js';
import { SeededRandom } from './seeded-random.js';
import { HISTORY_FILE, say, SECONDS, SEED } from './settings.js';
import { Storm } from './storm.js';

/** Wakes in a second, while no more wait than that. */
const PACE = { rate: () => 30, mostWaiting: 60 };
const YARDS = [
  { name: 'Open water', share: 6 },
  { name: 'One berth', capacity: 1, share: 1 },
  { name: 'Three berths', capacity: 3, share: 2 },
  { name: 'Buoys', issues: 6, share: 2 },
];
const START_MS = 300_000;
const LIMIT_MS = 240_000 + SECONDS * 2_000;

describe('while things are done to several servers on one database', () => {
  let deployment: Deployment | undefined;

  beforeAll(async () => {
    // What is said when the database is made to crash is no news here.
    Logger.overrideLogger(false);
    deployment = await Deployment.start({ apis: 2, runners: 3, slots: 4, leaseTtlSec: 3 });
  }, START_MS);
  afterAll(() => deployment?.stop());

  it(
    'nothing is lost, run twice, or held by too many, and the record agrees with all of it',
    async () => {
      say(`CHAOS_SEED=${SEED} CHAOS_SECONDS=${SECONDS}`);
      const run = await ChaosRun.begin(deployment!, SEED, PACE, YARDS);
      const storm = new Storm(deployment!, planFaults(new SeededRandom(SEED), SECONDS));
      await Promise.all([storm.rage(), run.wake(AbortSignal.timeout(SECONDS * 1000))]);
      await deployment!.heal();
      await run.settle();
      const { violations, record } = await run.check();
      say(`${record.runs.length} runs, ${record.leases.length} leases, ${run.wakers.answered.length} answered wakes`);
      say([...storm.done].map(([name, count]) => `${count} × ${name}`).join('\n'));
      if (storm.errors.length > 0) say(`Could not be done:\n${storm.errors.join('\n')}`);
      if (HISTORY_FILE) run.exportHistory(HISTORY_FILE, record);
      expect([...storm.stuck, ...violations]).toEqual([]);
      expect(record.runs.length).toBeGreaterThan(0);
    },
    LIMIT_MS,
  );
});
