import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { EntityManager } from '@mikro-orm/postgresql';
import { Client } from 'pg';
import { StreamReader } from '../../src/activity/stream-reader.js';
import { SomethingHappened, startActivityApp, type ActivityApp } from './activity-harness.js';
import { StreamClient } from './activity-stream-client.js';

const INSERT = `insert into activity_rows (company_id, actor_type, actor_id, action, entity_type, entity_id, details)
  select $1, 'system', 'test', 'test.happened', 'thing', $2 || n, $4
  from generate_series(1, $3::int) n`;

const pause = async (em: EntityManager) => void (await em.execute(`select pg_sleep(${Math.random() / 100})`));

describe('the stream of activity', () => {
  let api: ActivityApp;
  let company: string;
  let other: Client;

  beforeAll(async () => {
    api = await startActivityApp();
    other = new Client(api.database.url);
    other.on('error', () => undefined);
    await other.connect();
  });
  afterAll(async () => {
    await other.end();
    await api.close();
  });
  beforeEach(async () => {
    company = await api.company();
  });

  const open = (lastEventId?: string, query = '', headers = {}) =>
    StreamClient.open(`${api.url}/api/companies/${company}/activity/stream${query}`, lastEventId, headers);
  const ids = (client: StreamClient) => client.entries.map(({ entityId }) => entityId);
  const insert = (prefix: string, count = 1, details = {}) => other.query(INSERT, [company, prefix, count, details]);

  it('starts now, and delivers what commits from then on', async () => {
    const client = await open();
    await api.happen([new SomethingHappened(company, 'a'), new SomethingHappened(company, 'b')]);
    await client.until(() => client.entries.length === 2);
    expect(ids(client)).toEqual(['a', 'b']);
    expect(client.answer.headers).toMatchObject({ 'content-type': 'text/event-stream; charset=utf-8' });
    expect(client.answer.headers['x-request-id']).toBeTruthy();
    const listed = await api.call('GET', `companies/${company}/activity?entityId=a`);
    expect(listed.body).toEqual([client.entries[0]]);
    client.cut();
  });

  it('delivers nothing of another company, and nothing that is rolled back', async () => {
    const client = await open();
    await api.happen([new SomethingHappened(await api.company(), 'theirs')]);
    await api.happen([new SomethingHappened(company, 'first')]);
    await expect(
      api.happen([new SomethingHappened(company, 'rolled-back'), new SomethingHappened(randomUUID(), 'x')]),
    ).rejects.toThrow();
    await api.happen([new SomethingHappened(company, 'last')]);
    await client.until(() => ids(client).includes('last'));
    expect(ids(client)).toEqual(['first', 'last']);
    client.cut();
  });

  it('loses and repeats nothing under 8 writers with rollbacks, however often it is cut and resumed', async () => {
    const committed: string[] = [];
    let writing = true;
    let client = await open();
    const write = async (writer: number) => {
      for (let at = 0; at < 60; at++) {
        const id = `${writer}-${at}`;
        const undone = Math.random() < 0.1;
        const events = [
          new SomethingHappened(company, id),
          ...(undone ? [new SomethingHappened(randomUUID(), id)] : []),
        ];
        const done = await api
          .happen(events, (em) => pause(em))
          .then(
            () => true,
            () => false,
          );
        if (done) committed.push(id);
      }
    };
    const seen: string[] = [];
    const read = async () => {
      while (writing) {
        await delay(Math.random() * 60);
        client.cut();
        seen.push(...ids(client));
        client = await open(client.lastEventId);
      }
    };
    const reading = read();
    await Promise.all(Array.from({ length: 8 }, (_, writer) => write(writer)));
    writing = false;
    await reading;
    await client.until(() => seen.length + client.entries.length >= committed.length);
    await api.happen([new SomethingHappened(company, 'end')]);
    await client.until(() => ids(client).includes('end'));
    seen.push(...ids(client));
    client.cut();
    expect(seen.sort()).toEqual([...committed, 'end'].sort());
  }, 60_000);

  it('does not wait for a transaction that is still open, and delivers it when it commits', async () => {
    const client = await open();
    await other.query('begin');
    await insert('slow');
    await api.happen([new SomethingHappened(company, 'quick')]);
    await client.until(() => client.entries.length === 1, 1_500);
    await other.query('commit');
    await client.until(() => client.entries.length === 2);
    expect(ids(client)).toEqual(['quick', 'slow1']);
    client.cut();
  });

  it('resumes after any event, also in the middle of a page of what became visible at once', async () => {
    await insert('n', 450);
    const whole = await open(undefined, '?from=start');
    await whole.until(() => whole.entries.length === 451);
    whole.cut();
    expect(new Set(ids(whole)).size).toBe(451);
    for (const position of [0, 100, 199, 200, 399, 449]) {
      const rest = await open(whole.eventIds[position]);
      await rest.until(() => ids(rest).includes('n450'));
      rest.cut();
      expect(ids(rest)).toEqual(ids(whole).slice(position + 1));
    }
  });

  it('resumes between the two entries of one row', async () => {
    await other.query(
      `insert into activity_rows (company_id, actor_type, actor_id, action, run_id, lease_id, environment_id, driver,
         lease_policy, host)
       select $1, 'system', 's', 'heartbeat.started', gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'local',
         'ephemeral', 'h' from generate_series(1, 3)`,
      [company],
    );
    const whole = await open(undefined, '?from=start');
    const actions = ({ entries }: StreamClient) => entries.map(({ action }) => action);
    await whole.until(() => whole.entries.length === 7);
    const pair = ['environment.lease_acquired', 'heartbeat.started'];
    expect(actions(whole)).toEqual(['company.created', ...pair, ...pair, ...pair]);
    for (const [at, id] of whole.eventIds.slice(0, -1).entries()) {
      const rest = await open(id);
      await rest.until(() => rest.entries.length === whole.entries.length - at - 1);
      rest.cut();
      expect(rest.entries).toEqual(whole.entries.slice(at + 1));
    }
    whole.cut();
  });

  it('hears of another process at once by its notification, and otherwise soon', async () => {
    const client = await open();
    await delay(100);
    const start = Date.now();
    await insert('told');
    await other.query('notify berth_activity');
    await client.until(() => client.entries.length === 1);
    expect(Date.now() - start).toBeLessThan(1_000);
    await insert('untold');
    await client.until(() => client.entries.length === 2, 4_000);
    client.cut();
  });

  it('hears of other processes again after its connection was lost', async () => {
    const client = await open();
    const session = `from pg_stat_activity where datname = current_database()
      and application_name = 'berth notifications'`;
    const { rows } = await other.query<{ pid: number }>(`select pid, pg_terminate_backend(pid) ${session}`);
    expect(rows).toHaveLength(1);
    await insert('meanwhile');
    await client.until(() => client.entries.length === 1, 4_000);
    const anew = `select 1 ${session} and pid <> ${rows[0]?.pid} and query like 'listen%'`;
    while ((await other.query(anew)).rowCount === 0) await delay(20);
    const start = Date.now();
    await insert('after');
    await other.query('notify berth_activity');
    await client.until(() => client.entries.length === 2);
    expect(Date.now() - start).toBeLessThan(1_000);
    client.cut();
  });

  it('reads no further for a client that does not', async () => {
    const reader = api.app.get(StreamReader, { strict: false });
    const read = reader.read.bind(reader);
    let reads = 0;
    reader.read = (...request) => {
      reads++;
      return read(...request);
    };
    await insert('n', 3_000, { text: 'x'.repeat(10_000) });
    const client = await open(undefined, '?from=start');
    client.answer.pause();
    await delay(500);
    const pages = reads;
    await delay(300);
    expect(reads).toBe(pages);
    expect(pages).toBeLessThan(12);
    client.answer.resume();
    await client.until(() => client.entries.length === 3_001);
    client.cut();
    reader.read = read;
  });

  it('refuses an id that it never gave out', async () => {
    const client = await open();
    client.cut();
    const { lastEventId } = client;
    for (const id of [
      'x',
      '~~',
      `${lastEventId}~1`,
      lastEventId.replace(/\d+:\d+:/, '9:1:'),
      `${randomUUID()}~1:1:~5:9:~1~x`,
    ]) {
      expect((await open(id)).answer.statusCode).toBe(400);
    }
  });

  it('ends a cursor for good when the database was restored', async () => {
    const client = await open();
    client.cut();
    const [epoch, snapshot = ''] = client.lastEventId.split('~');
    expect((await open(`${randomUUID()}~${snapshot}`)).answer.statusCode).toBe(410);
    const xmax = Number(snapshot.split(':')[1]);
    expect((await open(`${epoch}~${xmax}:${xmax + 1_000_000}:`)).answer.statusCode).toBe(410);
    expect((await open(client.lastEventId)).answer.statusCode).toBe(200);
  });

  it('is not for agents of other companies', async () => {
    const own = await api.agent(company);
    const stranger = await api.agent(await api.company());
    const as = ({ token }: { token: string }) => open(undefined, '', { authorization: `Bearer ${token}` });
    expect((await as(stranger)).answer.statusCode).toBe(404);
    const client = await as(own);
    expect(client.answer.statusCode).toBe(200);
    client.cut();
  });
});

it('the stream of activity ends when the server shuts down, and does not hold it up', async () => {
  const api = await startActivityApp();
  const company = await api.company();
  const client = await StreamClient.open(`${api.url}/api/companies/${company}/activity/stream`);
  const start = Date.now();
  await api.close();
  expect(Date.now() - start).toBeLessThan(3_000);
  await client.until(() => client.ended);
});
