import { CrashHarbour, type Crash, type Story } from '../support/crash-harbour.js';
import { operationOf, type CrashPoint, type Operation } from '../support/crash-point.js';

const isLong = process.env.CRASH_POINTS === 'all';
/** What one crash and all that follows may take on a busy machine, in seconds. */
const EACH_SEC = 60;
const MOST = 400;
/** Stories are played beside each other, each lane with a database and processes of its own. */
const LANES = 2;
/** How often a story has to come to its end in a row, and nothing new be seen, before all of it counts as tried. */
const QUIET = 3;

/** In which story an operation is sure to happen. */
const COMPLETED_IN: [Operation, Story][] = [
  ['wake', 'life'],
  ['claim', 'life'],
  ['provision', 'life'],
  ['finalise', 'life'],
  ['clean-up', 'life'],
  ['reap', 'loss'],
];

/**
 * The process is killed at boundaries between two statements that it sends: from a wake over its claim, place, end and
 * clean-up, and where it ends what was lost. Where it dies is decided as it comes by, so that no boundary is missed and a
 * new statement is one, too. The short form tries both sides of the commit of each operation; `npm run test:crash` tries
 * every boundary that any story has.
 */
describe('a process that is killed between two statements', () => {
  const lanes: CrashHarbour[] = [];
  const operations = new Map<string, Operation>();

  beforeAll(async () => {
    for (let lane = 0; lane < LANES; lane++) lanes.push(await CrashHarbour.open((point) => name(point)));
  });
  afterAll(async () => {
    for (const lane of lanes) await lane.close();
  });

  /** Once it is known what a transaction was, its boundaries are; what several begin with is the first one's. */
  function name({ statements, completes, when }: CrashPoint): void {
    if (completes === null || when === 'before') return;
    const prefixes = statements.map((_, index) => statements.slice(0, index + 1).join('\n'));
    for (const prefix of prefixes) if (!operations.has(prefix)) operations.set(prefix, completes);
  }

  (isLong ? it.skip : it)(
    'leaves nothing that another process does not bring to its one end, on either side of each commit',
    async () => {
      const waiting = COMPLETED_IN.flatMap(([operation, story]) =>
        (['before', 'after'] as const).map((when) => ({ operation, story, when })),
      );
      const left: unknown[] = [];
      await inLanes(async (harbour) => {
        for (let wanted = waiting.shift(); wanted; wanted = waiting.shift()) {
          const { operation, story, when } = wanted;
          const crash = await harbour.crash(story, (point) => point.completes === operation && point.when === when);
          const problems = crash?.problems ?? ['The story came to its end without it'];
          if (problems.length > 0) left.push({ ...wanted, problems });
        }
      });
      expect(left).toEqual([]);
    },
    COMPLETED_IN.length * 2 * EACH_SEC * 1000,
  );

  (isLong ? it : it.skip)(
    'leaves nothing that another process does not bring to its one end, at any boundary',
    async () => {
      const tried = new Set<string>();
      const crashes: Crash[] = [];
      for (const story of ['life', 'loss'] as const) {
        let quiet = 0;
        await inLanes(async (harbour) => {
          while (quiet < QUIET && crashes.length < MOST) {
            const crash = await harbour.crash(story, ({ key }) => !tried.has(key) && tried.add(key) !== undefined);
            if (crash) crashes.push(crash);
            quiet = crash ? 0 : quiet + 1;
          }
        });
      }
      console.log(summary(crashes));
      const problems = crashes.filter((crash) => crash.problems.length > 0);
      expect(problems.map(describeCrash)).toEqual([]);
      expect(crashes.length).toBeLessThan(MOST);
    },
    MOST * EACH_SEC * 1000,
  );

  const inLanes = (work: (harbour: CrashHarbour) => Promise<void>) => Promise.all(lanes.map(work));

  function summary(crashes: readonly Crash[]): string {
    const counts = new Map<Operation, number>();
    for (const { at } of crashes) {
      const operation = operations.get(at.statements.join('\n')) ?? operationOf(at.statements);
      counts.set(operation, (counts.get(operation) ?? 0) + 1);
    }
    const each = [...counts].map(([operation, count]) => `${count} of ${operation}`);
    return `${crashes.length} boundaries: ${each.join(', ')}`;
  }
});

const describeCrash = ({ at: { when, statements }, problems }: Crash) => ({
  at: `${when} ${statements.map((text) => text.slice(0, 100)).join(' ; ')}`,
  problems,
});
