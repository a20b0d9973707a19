import { jest } from '@jest/globals';
import { anyDriverIsLocal, Fleet } from '../support/fleet.js';
import { HandRunner } from '../support/hand-runner.js';
import { Callers } from '../support/reservations.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';
import { StreamClient } from './activity-stream-client.js';

/** How long a credential that has ended may still be served, in milliseconds. */
const RECHECK_MS = 15_000;

interface Credential {
  readonly token: string;
  end(): Promise<unknown>;
}

describe('a request that stays open', () => {
  let app: TestApp;
  let fleet: Fleet;
  let runner: HandRunner;

  beforeAll(async () => {
    app = await startStillApp();
    runner = new HandRunner(app);
  });
  afterAll(() => app.close());
  beforeEach(async () => {
    anyDriverIsLocal(app);
    fleet = new Fleet(app, await new Fleet(app, '').user.company());
  });
  afterEach(() => jest.restoreAllMocks());

  const api = () => fleet.user.api;
  const keyAt = async (path: string) => (await api().post<{ id: string; token: string }>(path, { name: 'k' })).body;
  const revocable = async (path: string): Promise<Credential> => {
    const { id, token } = await keyAt(path);
    return { token, end: () => api().delete(`${path}/${id}`) };
  };
  const operatorKey = () => revocable('/board-api-keys');
  const agentKey = async () => revocable(`/agents/${await fleet.agent()}/keys`);
  const expiringKey = async (): Promise<Credential> => {
    const { id, token } = await keyAt('/board-api-keys');
    const expire = 'update operator_keys set expires_at = clock_timestamp() where id = $1';
    return { token, end: () => app.database.query(expire, [id]) };
  };
  const runToken = async (): Promise<Credential> => {
    const agentId = await fleet.agent();
    await fleet.wake(agentId, 1);
    const run = await runner.started(agentId);
    return { token: run.token, end: () => runner.end(run) };
  };

  describe('a stream of activity', () => {
    const open = ({ token }: Credential) =>
      StreamClient.open(`${app.url}/api/companies/${fleet.companyId}/activity/stream`, '', {
        authorization: `Bearer ${token}`,
      });
    const happen = (text: string) =>
      api().post(`/companies/${fleet.companyId}/activity`, { action: 'custom.happened', details: { text } });
    const told = (client: StreamClient) => client.entries.map(({ details }) => details.text).filter(Boolean);
    const timePasses = () => {
      const now = performance.now.bind(performance);
      jest.spyOn(performance, 'now').mockImplementation(() => now() + RECHECK_MS);
    };

    it.each([
      ['an operator’s key that was revoked', operatorKey],
      ['an operator’s key that has expired', expiringKey],
      ['an agent’s key that was revoked', agentKey],
      ['the token of a run that has ended', runToken],
    ])('ends with %s, and tells nothing more', async (_what, make) => {
      const credential = await make();
      const client = await open(credential);
      await happen('before');
      await client.until(() => told(client).includes('before'));
      await credential.end();
      timePasses();
      await happen('after');
      await client.until(() => client.ended);
      expect(told(client)).toEqual(['before']);
      expect((await open(credential)).answer.statusCode).toBe(401);
    });

    it('goes on with a credential that is still good', async () => {
      const client = await open(await operatorKey());
      timePasses();
      await happen('after');
      await client.until(() => told(client).includes('after'));
      client.cut();
    });
  });

  describe('a wait for a lease', () => {
    let callers: Callers;

    beforeEach(async () => {
      const environmentId = await fleet.create('environments', { name: 'test rig', driver: 'other', capacity: 1 });
      callers = new Callers(app, api(), fleet.companyId, environmentId);
    });

    it.each([
      ['a key that was revoked meanwhile', operatorKey],
      ['a key that has expired meanwhile', expiringKey],
    ])('is refused with %s, and lets the next have its turn', async (_what, make) => {
      const held = await callers.acquire();
      const credential = await make();
      const { answer } = await callers.queue('first', {}, api().as(credential.token));
      const next = await callers.queue('next');
      await credential.end();
      await callers.release(held);
      expect(await answer).toMatchObject({ status: 401, body: { code: 'unauthenticated' } });
      expect(await next.answer).toMatchObject({ status: 201, body: { holder: 'next' } });
    });

    it('ends without a word about who holds it when the key was revoked meanwhile', async () => {
      await callers.acquire();
      const credential = await operatorKey();
      const { answer } = await callers.queue('first', { waitSec: 1 }, api().as(credential.token));
      await credential.end();
      expect(await answer).toMatchObject({ status: 401, body: { code: 'unauthenticated' } });
    });
  });
});
