import fc from 'fast-check';
import { CrashHarbour, type Story } from '../support/crash-harbour.js';
import type { CrashPoint } from '../support/crash-proxy.js';

/** How many of the points are tried: `all`, or a number of them, chosen by CRASH_SEED. */
const { CRASH_POINTS = '4', CRASH_SEED = String(Date.now() % 1_000_000) } = process.env;
/** What one crash and all that follows may take, in seconds. */
const EACH_SEC = 120;
const MOST = 400;

interface Tried extends CrashPoint {
  readonly story: Story;
}

/**
 * The process is killed at each boundary between two statements that it sends: from a wake over its claim, place, end and
 * clean-up, and where it ends what was lost. Points are found by looking at what is sent, so that a new statement is one,
 * too. `npm run test:crash` tries all of them.
 */
describe('a process that is killed between two statements', () => {
  let harbour: CrashHarbour;

  beforeAll(async () => {
    harbour = await CrashHarbour.open();
  });
  afterAll(() => harbour.close());

  it(
    'leaves nothing that another process does not bring to its one end',
    async () => {
      const life = await harbour.record('life');
      const known = new Set(life.map(({ key }) => key));
      const loss = (await harbour.record('loss')).filter(({ key }) => !known.has(key));
      expect(life.length).toBeGreaterThan(40);
      const points = [...withStory('life', life), ...withStory('loss', loss)];
      const missed: Tried[] = [];
      const chosen = choose(points);
      for (const point of chosen) {
        const problems = await harbour.crash(point.story, point);
        if (problems === null) missed.push(point);
        else expect({ seed: CRASH_SEED, at: describePoint(point), problems }).toMatchObject({ problems: [] });
      }
      console.log(
        `${chosen.length} of ${points.length} points, seed ${CRASH_SEED}; never reached: ${missed.map(describePoint).join('\n') || 'none'}`,
      );
      // What the clock brings by itself need not come again at the same place.
      expect(missed.length).toBeLessThanOrEqual(chosen.length / 5);
    },
    MOST * EACH_SEC * 1000,
  );
});

const withStory = (story: Story, points: CrashPoint[]) => points.map((point) => ({ ...point, story }));

function choose(points: Tried[]): Tried[] {
  if (CRASH_POINTS === 'all') return points;
  const length = Math.min(Number(CRASH_POINTS), points.length);
  const some = fc.shuffledSubarray(points, { minLength: length, maxLength: length });
  return fc.sample(some, { seed: Number(CRASH_SEED), numRuns: 1 })[0];
}

const describePoint = ({ story, when, statements }: Tried) =>
  `${story}: ${when} ${statements.map((text) => text.slice(0, 100)).join(' ; ')}`;
