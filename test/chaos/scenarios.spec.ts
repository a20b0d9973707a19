import { Logger } from '@nestjs/common';
import { ChaosRun } from './chaos-run.js';
import { Deployment } from './deployment.js';
import { SCENARIOS, type Scenario } from './scenarios.js';
import { IS_LONG, say, SEED } from './settings.js';

/** How long what is usual lasts before, and after; and what is not, in milliseconds. */
const CALM_MS = 8_000;
const STRESS_MS = 12_000;
/** Wakes in a second. */
const RATE = 8;
const LIMIT_MS = 300_000;

interface Phase {
  readonly name: string;
  /** Runs that ended, in a second. */
  readonly rate: number;
}

/** Only in `npm run test:chaos`: together they take minutes. */
(IS_LONG ? describe : describe.skip)('the scenarios of the public harness for job queues', () => {
  let deployment: Deployment;
  const rows: string[] = [];

  beforeAll(async () => {
    Logger.overrideLogger(false);
    deployment = await Deployment.start({ apis: 2, runners: 2, slots: 8, leaseTtlSec: 3 });
  }, 300_000);
  afterAll(async () => {
    say(['scenario | runs | lost | baseline/s | stress/s | recovery/s | all ended after', ...rows].join('\n'));
    await deployment?.stop();
  });

  it.each(SCENARIOS.map((scenario) => [scenario.name, scenario] as const))(
    '%s: nothing is lost, and work goes on as before',
    async (_name, scenario) => {
      let rate = RATE;
      const run = await ChaosRun.begin(
        deployment,
        SEED,
        { rate: () => rate, mostWaiting: Infinity },
        [{ name: 'Quay' }],
        4,
      );
      const { phases, sent } = await inPhases(run, scenario, (now) => (rate = now));
      await sent;
      await deployment.heal();
      const healedAt = performance.now();
      await run.settle();
      const endedSec = (performance.now() - healedAt) / 1000;
      const { violations, record } = await run.check();
      const lost = violations.length;
      const [baseline, stress, recovery] = phases.map((phase) => phase.rate.toFixed(1));
      rows.push(
        [scenario.name, record.runs.length, lost, baseline, stress, recovery, `${endedSec.toFixed(1)} s`].join(' | '),
      );
      expect(violations).toEqual([]);
      expect(phases[2].rate).toBeGreaterThan(phases[0].rate / 2);
    },
    LIMIT_MS,
  );

  /** Wakes all the time: as usual, while the scenario does its thing, and as usual again. */
  async function inPhases(run: ChaosRun, scenario: Scenario, pace: (rate: number) => void) {
    const over = new AbortController();
    const sent = run.wake(over.signal);
    const phase = async (name: string, act: () => Promise<unknown>): Promise<Phase> => {
      const from = new Date();
      await act();
      return { name, rate: await endedSince(run, from) };
    };
    const calm = () => new Promise((resolve) => setTimeout(resolve, CALM_MS));
    const phases = [await phase('baseline', calm)];
    pace(RATE * (scenario.load ?? 1));
    phases.push(await phase('stress', () => scenario.stress(deployment, STRESS_MS)));
    pace(RATE);
    phases.push(await phase('recovery', calm));
    over.abort();
    return { phases, sent };
  }

  async function endedSince(run: ChaosRun, from: Date): Promise<number> {
    const until = new Date();
    const [{ count }] = await deployment.query<{ count: number }>(
      `select count(*)::integer as count from heartbeat_runs
       where company_id = any($1::uuid[]) and finished_at >= $2 and finished_at < $3`,
      [`{${run.companyIds.join(',')}}`, from, until],
    );
    return (count * 1000) / (until.getTime() - from.getTime());
  }
});
