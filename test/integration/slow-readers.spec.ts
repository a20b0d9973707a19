import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { eventually } from '../support/eventually.js';
import { Scenario } from '../support/scenario.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';
import { StreamClient } from './activity-stream-client.js';

const OWN = 2;
const ALL = 3;

describe('clients that keep something of the server', () => {
  let berth: TestApp;
  let user: Scenario;
  let companyId: string;
  const sockets: Socket[] = [];

  beforeAll(async () => {
    berth = await startStillApp({ config: { clientTimeoutSec: 1, streams: ALL, streamsPerCaller: OWN } });
    user = new Scenario(berth.url);
    companyId = await user.company();
    // More than the buffers of a connection hold: what is left waits in this process.
    await berth.database.query(
      `insert into activity_rows (id, company_id, actor_type, actor_id, action, entity_type, entity_id, details)
       select gen_random_uuid(), $1::uuid, 'user', 'u', 'custom.noise', 'company', $1::uuid::text,
         jsonb_build_object('noise', (select string_agg(md5(n::text || k::text), '') from generate_series(1, 2000) k))
       from generate_series(1, 400) n`,
      [companyId],
    );
  });
  afterEach(() => sockets.splice(0).forEach((socket) => socket.destroy()));
  afterAll(() => berth.close());

  /** Asks, hears that there is an answer, and reads no further. @returns the server's end of the connection. */
  const askAndLookAway = async (path: string): Promise<Socket> => {
    const accepted = once(berth.app.getHttpServer(), 'connection') as Promise<[Socket]>;
    const socket = connect(Number(new URL(berth.url).port), '127.0.0.1').on('error', () => undefined);
    sockets.push(socket);
    socket.write(`GET /api/companies/${companyId}/${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    await once(socket, 'readable');
    return (await accepted)[0];
  };

  it.each(['activity?limit=200', 'activity/stream?from=start'])(
    'waits for nobody who leaves %s unread',
    async (path) => {
      const held = await askAndLookAway(path);
      expect(held.destroyed).toBe(false);
      await eventually(
        async () => held.destroyed,
        (destroyed) => destroyed,
        5_000,
      );
    },
  );

  it('lets who reads a stream to its end go on', async () => {
    const client = await StreamClient.open(`${berth.url}/api/companies/${companyId}/activity/stream?from=start`);
    await client.until(() => client.entries.length > 400);
    await new Promise((resolve) => setTimeout(resolve, 1500)); // longer than anybody may leave it unread
    expect(client.ended).toBe(false);
    client.cut();
  });

  it('gives one caller, and all together, only so many streams', async () => {
    const url = `${berth.url}/api/companies/${companyId}/activity/stream`;
    const agent = async () => {
      const agentId = await user.agent(companyId, 'true');
      const { body } = await user.api.post<{ token: string }>(`/agents/${agentId}/keys`, { name: 'k' });
      return { authorization: `Bearer ${body.token}` };
    };
    const refusal = async (headers: Record<string, string> = {}) => {
      const answer = await fetch(url, { headers });
      return { status: answer.status, retry: answer.headers.get('retry-after'), body: (await answer.json()) as object };
    };
    const open = [await StreamClient.open(url), await StreamClient.open(url)];
    const one = { status: 429, retry: '10', body: { code: 'too_many_streams', details: { limit: OWN } } };
    expect(await refusal()).toMatchObject(one);
    open.push(await StreamClient.open(url, '', await agent()));
    expect(await refusal(await agent())).toMatchObject({ ...one, body: { ...one.body, details: { limit: ALL } } });

    open[0].cut();
    const again = await eventually(
      () => StreamClient.open(url),
      ({ answer }) => answer.statusCode === 200,
    );
    for (const client of [...open, again]) client.cut();
  });
});
