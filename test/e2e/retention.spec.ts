import { loadData } from '../../bench/data-at-size.ts';
import { migrate } from '../../src/database/migrations.js';
import { verifyRecord } from '../../src/activity/verify/verify-record.js';
import { eventually } from '../support/eventually.js';
import { History } from '../support/retained-history.js';
import { startServerProcess, type ServerProcess } from '../support/server-process.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

const SIZE = { runs: 2400, live: 40, waiting: 60 };
/** A hundred days of history. */
const STEP_MS = 60 * 60 * 1000;
const DAYS = { activityDays: 45, runDays: 30, runLogDays: 20 };
const LONG_MS = 180_000;

describe('removing what was kept for long enough', () => {
  let database: TestDatabase;
  let history: History;
  const servers: ServerProcess[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
    await migrate(database.url);
    await loadData(database.url, SIZE, { checked: false, stepMs: STEP_MS });
    history = await History.of(database, DAYS, { retries: 100 });
  }, LONG_MS);
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
    await database.close();
  });

  const start = async () => {
    const server = await startServerProcess({
      BERTH_DATABASE_URL: database.url,
      BERTH_ROLES: 'api',
      BERTH_RETAIN_ACTIVITY_DAYS: String(DAYS.activityDays),
      BERTH_RETAIN_RUN_DAYS: String(DAYS.runDays),
      BERTH_RETAIN_RUN_LOG_DAYS: String(DAYS.runLogDays),
    });
    servers.push(server);
    return server;
  };
  const wrong = async () => (await verifyRecord(database.url, 60)).filter(({ found }) => found > 0);
  /** How many rows are gone, and how many the record says are gone, by what they were. */
  const accounts = async () => {
    const present = await history.present();
    const told = await database.query<{ kind: string; rows: string }>(
      `select each.key as kind, sum(each.value::integer) as rows
       from activity_log, jsonb_each_text(details -> 'removed') each where action = 'retention.removed' group by 1`,
    );
    const said = Object.fromEntries(told.map(({ kind, rows }) => [kind, Number(rows)]));
    return { gone: history.missing(present), said };
  };
  const runsLeft = async () =>
    Number((await database.query<{ count: string }>('select count(*) from heartbeat_runs'))[0].count);

  it(
    'goes whole or not at all when its process is killed, again and again, and is finished by the next',
    async () => {
      for (let time = 0; time < 3; time++) {
        const before = await runsLeft();
        const server = await start();
        await eventually(runsLeft, (left) => left < before, LONG_MS);
        await server.kill9();
        expect(await wrong()).toEqual([]);
        const { gone, said } = await accounts();
        expect(said).toMatchObject(Object.fromEntries(Object.entries(gone).filter(([, rows]) => rows > 0)));
      }
      await Promise.all([start(), start()]);
      await eventually(
        () => database.query('select 1 from retention_horizons where swept_to is not null'),
        (swept) => swept.length === 20 * 3,
        LONG_MS,
      );
      expect(await history.present()).toEqual(history.remaining());
      expect(await wrong()).toEqual([]);
      const { gone, said } = await accounts();
      expect(said).toEqual(gone);
    },
    3 * LONG_MS,
  );
});
