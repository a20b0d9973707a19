import { jest } from '@jest/globals';
import { MikroORM } from '@mikro-orm/postgresql';
import { Logger } from '@nestjs/common';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadConfig } from '../../src/config/load-config.js';
import { connectionOptions } from '../../src/database/connection.js';
import { markFile, readMark, writeMark, type DatabaseMark } from '../../src/database/restore/database-mark.js';
import { DatabaseWatch } from '../../src/database/restore/database-watch.js';
import { Quarantine } from '../../src/database/restore/quarantine.js';
import { ormOptions } from '../../src/mikro-orm.config.js';
import { holdTransaction } from '../support/held-transaction.js';
import { eventually } from '../support/eventually.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

const MARGIN = 2 ** 32;

const connect = (url: string) => MikroORM.init(ormOptions(connectionOptions(url, 'berth-restore-test')));

interface Instance {
  epoch: string;
  token_floor: string;
  quarantine_reason: string | null;
}

describe('a database that may have been restored', () => {
  let database: TestDatabase;
  let orm: MikroORM;
  const config = loadConfig({}, '/');
  let home: string;

  beforeAll(async () => {
    database = await createTestDatabase();
    orm = await connect(database.url);
  });
  afterAll(async () => {
    await orm.close();
    await database.close();
  });

  beforeEach(async () => {
    home = await mkdtemp(path.join(tmpdir(), 'berth-home-'));
    await database.query(
      `update instance set quarantined_at = null, quarantine_reason = null, restored_as = null, token_floor = 0`,
    );
    await database.query(`select setval('fencing_token', 20)`);
  });
  afterEach(() => rm(home, { recursive: true }));

  /** A process that starts in a home. */
  const start = async ({ restored = false, at = home, em = orm.em } = {}) => {
    const watch = new DatabaseWatch(em, config.with({ home: at, restored }));
    await watch.recognise();
    return watch;
  };
  const mark = async () => (await readMark(markFile(home))) as DatabaseMark;
  const change = async (changes: Partial<DatabaseMark>) => writeMark(markFile(home), { ...(await mark()), ...changes });
  const instance = async () => (await database.query<Instance>('select * from instance'))[0];
  const reason = async () => (await instance()).quarantine_reason;
  const nextToken = async () =>
    Number((await database.query<{ token: string }>(`select nextval('fencing_token') as token`))[0].token);
  const confirm = () => new Quarantine(orm.em, new DatabaseWatch(orm.em, config)).confirm();

  it('is taken as it is by a home that has never seen it', async () => {
    const { epoch } = await instance();
    await start();
    expect(await instance()).toMatchObject({ epoch, quarantine_reason: null, token_floor: '0' });
    expect(await mark()).toEqual({
      epoch,
      systemIdentifier: expect.stringMatching(/^\d+$/),
      timeline: 1,
      databaseOid: expect.stringMatching(/^\d+$/),
      walPosition: expect.any(Number),
      highestToken: 0,
    });
  });

  it('is left alone while it only goes on', async () => {
    await start();
    const { epoch } = await instance();
    expect(await nextToken()).toBe(21);
    await start();
    expect(await instance()).toMatchObject({ epoch, quarantine_reason: null });
    expect(await nextToken()).toBe(22);
  });

  it.each<[string, Partial<DatabaseMark>, RegExp]>([
    ['tokens that had been given out are missing', { highestToken: 25 }, /last fencing token is 20, and 25 had been/],
    ['it is in another cluster', { systemIdentifier: '7' }, /its system identifier is \d+, and was 7$/],
    ['it is on another timeline', { timeline: 2 }, /it is on timeline 1, and was on 2$/],
    ['it was made anew from a dump', { databaseOid: '7' }, /it was made anew in its cluster/],
    [
      'its log is shorter than it was',
      { walPosition: 2 ** 50 },
      /its log ends at byte \d+, and had been written up to/,
    ],
  ])('is in quarantine when %s', async (_why, changed, because) => {
    await start();
    const { epoch } = await instance();
    await change(changed);

    await start();
    const now = await instance();
    expect(now.quarantine_reason).toMatch(because);
    expect(now.epoch).not.toBe(epoch);
    const highest = changed.highestToken ?? 20;
    expect(await mark()).toMatchObject({ epoch: now.epoch, highestToken: highest + MARGIN });
    expect(await nextToken()).toBe(highest + MARGIN + 1);
  });

  it('is put into quarantine once, and is free for good when an operator has confirmed', async () => {
    await start();
    await change({ timeline: 2 });
    await start();
    const { epoch } = await instance();
    await start();
    expect(await instance()).toMatchObject({ epoch, quarantine_reason: expect.any(String) });
    await confirm();
    await start();
    expect(await instance()).toMatchObject({ epoch, quarantine_reason: null });
  });

  it('is put into quarantine once by processes that start at the same moment in homes of their own', async () => {
    const other = await mkdtemp(path.join(tmpdir(), 'berth-home-'));
    await Promise.all([start(), start({ at: other })]);
    const seen = { ...(await mark()), timeline: 2 };
    await Promise.all([home, other].map((at) => writeMark(markFile(at), seen)));
    // Both have seen that it was restored, and neither has done anything about it.
    const held = await holdTransaction(database, 'select from instance for update');
    const both = [start(), start({ at: other })];
    const waiting = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    await eventually(
      () => database.query(waiting),
      (rows) => rows.length === 2,
    ).finally(() => held.commit());
    await Promise.all(both);

    const { epoch } = await instance();
    expect(await mark()).toMatchObject({ epoch, highestToken: 20 + MARGIN });
    expect(await readMark(markFile(other))).toEqual(
      await mark().then((mine) => ({ ...mine, walPosition: expect.any(Number) })),
    );
    expect(await nextToken()).toBe(20 + MARGIN + 1);
    await rm(other, { recursive: true });
  });

  it('needs no second quarantine when a process comes later that has seen it before', async () => {
    const other = await mkdtemp(path.join(tmpdir(), 'berth-home-'));
    await Promise.all([start(), start({ at: other })]);
    await Promise.all(
      [home, other].map(async (at) => writeMark(markFile(at), { ...(await mark()), systemIdentifier: '7' })),
    );
    await start();
    await confirm();
    await start({ at: other });
    expect(await reason()).toBeNull();
    await rm(other, { recursive: true });
  });

  it('is noticed once more when the backup is older than the last quarantine', async () => {
    await start();
    const before = await instance();
    await change({ timeline: 2 });
    await start();
    await confirm();
    // The same backup again, and nothing was leased in between.
    await database.query('update instance set epoch = $1, token_floor = 0', [before.epoch]);
    await database.query(`select setval('fencing_token', 20)`);
    await start();
    expect(await reason()).toMatch(/last fencing token is 20/);
    expect(await nextToken()).toBe(20 + 2 * MARGIN + 1);
  });

  it('is noticed by a process that was running all the time, which says so once', async () => {
    const said = jest.spyOn(Logger.prototype, 'error').mockReturnValue();
    const over = jest.spyOn(Logger.prototype, 'warn').mockReturnValue();
    const watch = await start();
    const quarantine = new Quarantine(orm.em, watch);
    expect(await quarantine.isActive()).toBe(false);
    await change({ highestToken: 25 });
    expect([await quarantine.isActive(), await quarantine.isActive()]).toEqual([true, true]);
    expect(said.mock.calls).toEqual([
      [expect.stringMatching(/^The database was restored.* until an operator confirms/)],
    ]);
    await confirm();
    expect([await quarantine.isActive(), await quarantine.isActive()]).toEqual([false, false]);
    expect(over.mock.calls).toEqual([[expect.stringMatching(/^The quarantine is over/)]]);
    jest.restoreAllMocks();
  });

  it('is the same after a crash that took back tokens which nobody had got', async () => {
    const uncommitted = await holdTransaction(database, `select nextval('fencing_token')`);
    await start();
    await uncommitted.commit();
    await database.query(`select setval('fencing_token', 20)`);
    await start();
    expect(await reason()).toBeNull();
  });

  it('needs no quarantine when nothing was ever leased in it, but tokens go on above the highest', async () => {
    await start();
    await change({ epoch: '00000000-0000-4000-8000-000000000000', systemIdentifier: '7', highestToken: 25 });
    await database.query(`select setval('fencing_token', 1, false)`);
    const { epoch } = await instance();
    await start();
    expect(await instance()).toMatchObject({ epoch, quarantine_reason: null });
    expect(await mark()).toMatchObject({ epoch, highestToken: 25 + MARGIN });
    expect(await nextToken()).toBe(25 + MARGIN + 1);
  });

  it('is compared by what its role may read', async () => {
    const role = 'test_reads_little';
    await database.query(`create role ${role} login`);
    await database.query(`grant all on schema public to ${role}`);
    await database.query(`grant all on all tables in schema public to ${role}`);
    await database.query(`grant all on all sequences in schema public to ${role}`);
    for (const secret of ['pg_control_system()', 'pg_current_wal_flush_lsn()']) {
      await database.query(`revoke execute on function ${secret} from public`);
    }
    await start();
    const url = new URL(database.url);
    url.username = role;
    const limited = await connect(url.href);
    const watch = await start({ em: limited.em });
    expect(await mark()).toMatchObject({
      systemIdentifier: null,
      timeline: null,
      walPosition: null,
      databaseOid: expect.any(String),
    });
    expect(await reason()).toBeNull();
    await change({ highestToken: 25 });
    expect((await watch.look()).quarantine).not.toBeNull();
    await limited.close();
    await database.query(`drop owned by ${role}`);
    await database.query(`drop role ${role}`);
  });

  describe('as the operator says', () => {
    it('is in quarantine once, however often it is started with that', async () => {
      await start({ restored: true });
      expect(await reason()).toMatch(/BERTH_RESTORED says so/);
      const { epoch } = await instance();
      expect(await nextToken()).toBe(20 + MARGIN + 1);
      await start({ restored: true });
      await confirm();
      await start({ restored: true });
      expect(await instance()).toMatchObject({ epoch, quarantine_reason: null });
    });

    it('is in quarantine once, whichever homes are started with that', async () => {
      await start({ restored: true });
      await confirm();
      await rm(markFile(home));
      await start({ restored: true });
      expect(await reason()).toBeNull();
    });

    it('is in quarantine again when that is said again', async () => {
      await start({ restored: true });
      await confirm();
      await start();
      expect(await reason()).toBeNull();
      await start({ restored: true });
      expect(await reason()).toMatch(/BERTH_RESTORED says so/);
    });

    it('is in quarantine again when another database is started with that', async () => {
      await start({ restored: true });
      await confirm();
      // What a copy of this database says in another cluster.
      await database.query(`update instance set restored_as = '7/1/1'`);
      await rm(markFile(home));
      await start({ restored: true });
      expect(await reason()).toMatch(/BERTH_RESTORED says so/);
    });
  });

  describe('the mark', () => {
    it('stops a start when it is damaged, and says what to do', async () => {
      await writeFile(markFile(home), '{"epoch": "half');
      await expect(start()).rejects.toThrow(/database-mark.json is damaged.* Remove the file; .* BERTH_RESTORED=1/);
    });

    it('stops a start when tokens could not go on above it as exact numbers', async () => {
      await start();
      await change({ highestToken: Number.MAX_SAFE_INTEGER - MARGIN });
      await expect(start()).rejects.toThrow(/fencing tokens cannot go on above/);
      expect(await nextToken()).toBe(21);
    });

    it('is brought up to date when the process ends', async () => {
      const watch = await start();
      const { walPosition } = await mark();
      await database.query('select pg_switch_wal()');
      await watch.look();
      expect((await mark()).walPosition).toBe(walPosition);
      await watch.beforeApplicationShutdown();
      expect((await mark()).walPosition).toBeGreaterThan(walPosition!);
    });

    it('never forgets a token that was given out, even if no lease has it any more', async () => {
      await start();
      await change({ highestToken: 15 });
      await start();
      expect((await mark()).highestToken).toBe(15);
    });
  });
});
