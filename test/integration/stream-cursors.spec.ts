import { cutAfter } from '../../src/activity/stream-cursor.js';
import { StreamReader } from '../../src/activity/stream-reader.js';
import { Scenario } from '../support/scenario.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

describe('a cursor of the stream', () => {
  it.each([
    ['20:20:', 30n, '20:20:'],
    ['10:20:10,15', 30n, '10:20:10,15'],
    ['10:20:10,15', 12n, '10:13:10'],
    ['10:20:10,15', 9n, '10:10:'],
    ['20:20:', 12n, '13:13:'],
  ])('of %s cut after %i is %s', (snapshot, tx, cut) => {
    expect(cutAfter(snapshot, tx)).toBe(cut);
  });

  describe('counts no transaction as seen that left no entry: a crash gives its number out again', () => {
    let app: TestApp;
    let companyId: string;

    beforeAll(async () => {
      app = await startStillApp();
      companyId = await new Scenario(app.url).company();
    });
    afterAll(() => app.close());

    /** Transactions that have a number and leave nothing. */
    const passBy = async () => {
      for (let n = 0; n < 3; n++) await app.database.query('select pg_current_xact_id()');
    };
    const newest = async () => {
      const [{ tx }] = await app.database.query<{ tx: string }>(
        'select tx::text from activity_rows where company_id = $1 order by tx desc limit 1',
        [companyId],
      );
      return BigInt(tx);
    };
    const end = ({ seen }: { seen: string }) => BigInt(seen.split(':')[1]);

    it('from now on', async () => {
      await passBy();
      expect(end(await app.get(StreamReader).cursorAt('now', companyId))).toBe((await newest()) + 1n);
    });

    it('after entries, and after none', async () => {
      const reader = app.get(StreamReader);
      await passBy();
      const { cursor } = await reader.read(companyId, await reader.cursorAt('start', companyId));
      expect(end(cursor)).toBe((await newest()) + 1n);
      await passBy();
      const after = await reader.read(companyId, cursor);
      expect(after.entries).toEqual([]);
      expect(end(after.cursor)).toBe(end(cursor));
    });
  });
});
