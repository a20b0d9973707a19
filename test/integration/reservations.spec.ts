import { jest } from '@jest/globals';
import { PooledClient } from '../../src/database/pooled-client.js';
import { ReapLeases } from '../../src/heartbeat/ending/reap-leases.js';
import { anyDriverIsLocal, Fleet } from '../support/fleet.js';
import { Callers, type HeldDetails } from '../support/reservations.js';
import { rounds } from '../support/rounds.js';
import type { ActivityEntry } from '../support/scenario.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

type Query = (this: PooledClient, ...args: unknown[]) => Promise<unknown>;

const LEASE_TTL_SEC = 60;

describe('a reservation', () => {
  let apps: [TestApp, TestApp];
  let fleet: Fleet;
  let callers: Callers;

  beforeAll(async () => {
    const first = await startStillApp({ config: { leaseTtlSec: LEASE_TTL_SEC } });
    apps = [first, await startStillApp({ database: first.database })];
  });
  afterAll(async () => {
    await apps[1].close();
    await apps[0].close();
  });
  beforeEach(async () => {
    anyDriverIsLocal(...apps);
    const { user } = new Fleet(apps[0], '');
    fleet = new Fleet(apps[0], await user.company());
    callers = await callersOf(1);
  });
  afterEach(() => jest.restoreAllMocks());

  const callersOf = async (capacity: number | null, name = 'build box') => {
    const id = await fleet.create('environments', { name, driver: 'other', ...(capacity ? { capacity } : {}) });
    return new Callers(apps[0], fleet.user.api, fleet.companyId, id);
  };
  const api = () => fleet.user.api;
  const workspace = (mode: string, environmentId = callers.environmentId) =>
    fleet.create('execution-workspaces', { environmentId, name: mode, mode, cwd: '/tmp' });
  const entriesOf = async (leaseId: string) =>
    (await api().get<ActivityEntry[]>(`/companies/${fleet.companyId}/activity?entityId=${leaseId}`)).body.reverse();
  /** It was not renewed, and its time is over. */
  const runOut = (leaseId: string) =>
    apps[0].database.query(`update environment_leases set expires_at = acquired_at + interval '1 ms' where id = $1`, [
      leaseId,
    ]);

  /** Does something just before the next statement like that is sent. */
  const before = (matching: RegExp, work: () => Promise<unknown>) => {
    const query = Reflect.get(PooledClient.prototype, 'query') as unknown as Query;
    const spy = jest.spyOn(PooledClient.prototype as unknown as { query: Query }, 'query');
    spy.mockImplementation(async function (this: PooledClient, ...args) {
      if (!matching.test(String(args[0]))) return query.apply(this, args);
      spy.mockRestore();
      await work();
      return query.apply(this, args);
    });
  };

  describe('of an environment that changes meanwhile', () => {
    it('gets a slot that is free now, where another holder has gone since it was counted', async () => {
      callers = await callersOf(2, 'pier');
      const first = await callers.acquire();
      await callers.acquire();
      before(/workspace_elsewhere/, () => callers.release(first));
      expect(await callers.acquire()).toMatchObject({ slot: first.slot });
    });

    it('is not refused because a capacity was set that it does not exceed', async () => {
      callers = await callersOf(null, 'pier');
      before(/from environments where .* for share/s, () =>
        api().patch(`/environments/${callers.environmentId}`, { capacity: 2 }),
      );
      expect(await callers.acquire()).toMatchObject({ slot: 1 });
    });
  });

  describe('that can be had', () => {
    it('is granted at once, and says who holds it', async () => {
      const fields = { holder: 'nightly backup', metadata: { ticket: 'OPS-17' }, ttlSec: 5 };
      const lease = await callers.acquire(fields);
      expect(lease).toMatchObject({
        ...{ holder: 'nightly backup', metadata: { ticket: 'OPS-17' }, status: 'active', heartbeatRunId: null },
        ...{ environmentId: callers.environmentId, executionWorkspaceId: null, fencingToken: expect.any(Number) },
      });
      expect(Date.parse(lease.expiresAt) - Date.parse(lease.acquiredAt)).toBe(5000);
      expect(await callers.lease(lease.id)).toEqual(lease);
      const { body } = await api().get(`/environments/${callers.environmentId}/leases?status=active`);
      expect(body).toEqual([lease]);
    });

    it('lasts as long as the server says unless its holder does', async () => {
      const lease = await callers.acquire();
      expect(Date.parse(lease.expiresAt) - Date.parse(lease.acquiredAt)).toBe(LEASE_TTL_SEC * 1000);
    });

    it('is in the record from its beginning to its end, with whoever did it', async () => {
      const lease = await callers.acquire();
      await callers.release(lease);
      expect(await entriesOf(lease.id)).toMatchObject([
        { action: 'environment.lease_acquired', actorType: 'user', details: { holder: 'backup', status: 'active' } },
        { action: 'environment.lease_released', actorType: 'user', details: { holder: 'backup', status: 'released' } },
      ]);
    });

    it('has a slot of its own under a capacity, and none where there is no capacity', async () => {
      const [two, any] = [await callersOf(2, 'two'), await callersOf(null, 'any')];
      const leases = [await two.acquire(), await two.acquire(), await any.acquire(), await any.acquire()];
      await two.release(leases[0]);
      leases.push(await two.acquire());
      const sql = 'select slot from environment_leases where id = any($1) order by array_position($1, id)';
      const slots = await apps[0].database.query(sql, [leases.map(({ id }) => id)]);
      expect(slots).toEqual([1, 2, null, null, 1].map((slot) => ({ slot })));
    });

    it('is shown once, however often it is asked for with one key', async () => {
      const keyed = api().with({ 'idempotency-key': 'k1' });
      const first = await callers.acquire({}, keyed);
      expect(await callers.ask({}, keyed)).toMatchObject({ status: 201, body: first });
      expect(await callers.ask({ holder: 'other' }, keyed)).toMatchObject({
        status: 409,
        body: { code: 'idempotency_key_reused' },
      });
      expect(await callers.mostAtOnce()).toBe(1);
    });
  });

  describe('that cannot be had is refused', () => {
    it('with what holds the place', async () => {
      const lease = await callers.acquire({ holder: 'nightly backup' });
      const { status, body } = await callers.ask();
      expect(body).toMatchObject({
        code: 'environment_at_capacity',
        error: 'The environment "build box" is at its capacity: 1 of 1, held by "nightly backup"',
        details: { capacity: 1, heldCount: 1, waitingBefore: [] },
      });
      const since = lease.acquiredAt;
      const holder = { leaseId: lease.id, holder: 'nightly backup', heartbeatRunId: null, place: null, since };
      expect([status, (body.details as HeldDetails).heldBy]).toEqual([409, [holder]]);
    });

    it('with who waits for it already', async () => {
      const lease = await callers.acquire();
      const first = await callers.queue('first');
      const { body } = await callers.ask();
      expect(body.details).toMatchObject({ waitingBefore: [{ kind: 'reservation', holder: 'first' }] });
      await callers.release(lease);
      await callers.release((await first.answer).body);
    });

    it('when the exclusive workspace is in use', async () => {
      callers = await callersOf(null, 'big');
      const executionWorkspaceId = await workspace('exclusive');
      const lease = await callers.acquire({ executionWorkspaceId });
      const { status, body } = await callers.ask({ executionWorkspaceId });
      expect([status, body.code]).toEqual([409, 'workspace_occupied']);
      expect(body.details).toMatchObject({ heldBy: [{ leaseId: lease.id }] });
      await callers.release(lease);
      expect(await callers.ask({ executionWorkspaceId })).toMatchObject({ status: 201 });
    });

    it('but not when a shared one is', async () => {
      callers = await callersOf(null, 'big');
      const executionWorkspaceId = await workspace('shared');
      await callers.acquire({ executionWorkspaceId });
      expect(await callers.ask({ executionWorkspaceId })).toMatchObject({ status: 201 });
    });

    it.each([
      ['draining', 409, 'environment_draining', (id: string) => api().post(`/environments/${id}/drain`)],
      ['archived', 422, 'environment_archived', (id: string) => api().post(`/environments/${id}/archive`)],
      ['deleted', 422, 'environment_deleted', (id: string) => api().delete(`/environments/${id}`)],
    ])('when the environment is %s', async (_how, status, code, change) => {
      await change(callers.environmentId);
      expect(await callers.ask()).toMatchObject({ status, body: { code } });
    });

    it('when its company is archived', async () => {
      await api().post(`/companies/${fleet.companyId}/archive`);
      expect(await callers.ask()).toMatchObject({ status: 409, body: { code: 'company_archived' } });
    });

    it('when the workspace is archived, or in another environment', async () => {
      const elsewhere = await callersOf(1, 'elsewhere');
      const executionWorkspaceId = await workspace('exclusive');
      expect(await elsewhere.ask({ executionWorkspaceId })).toMatchObject({
        status: 422,
        body: { code: 'workspace_elsewhere' },
      });
      await api().patch(`/execution-workspaces/${executionWorkspaceId}`, { status: 'archived' });
      expect(await callers.ask({ executionWorkspaceId })).toMatchObject({
        status: 422,
        body: { code: 'workspace_archived' },
      });
    });

    it("when anything of it is another company's", async () => {
      const theirs = new Fleet(apps[0], await fleet.user.company());
      const environmentId = await theirs.create('environments', { name: 'theirs', driver: 'other' });
      const fields = { environmentId, name: 'theirs', mode: 'shared', cwd: '/tmp' };
      const executionWorkspaceId = await theirs.create('execution-workspaces', fields);
      const [heartbeatRunId] = await theirs.wake(await theirs.agent(), 1);
      for (const theirThing of [{ environmentId }, { executionWorkspaceId }, { heartbeatRunId }]) {
        expect(await callers.ask(theirThing)).toMatchObject({ status: 404, body: { code: 'not_found' } });
      }
    });

    it('without a holder, and to an agent', async () => {
      expect(await callers.ask({ holder: undefined })).toMatchObject({ status: 400, body: { code: 'invalid_input' } });
      const agentId = await fleet.agent();
      const { body: key } = await api().post<{ token: string }>(`/agents/${agentId}/keys`, { name: 'k' });
      const answer = await callers.ask({}, api().as(key.token));
      expect(answer).toMatchObject({ status: 403, body: { code: 'operator_only' } });
    });
  });

  describe('that eight callers of two processes want at once', () => {
    const EIGHT = [0, 1, 2, 3, 4, 5, 6, 7];
    const ROUNDS = Array.from({ length: rounds(6) }, (_, round) => round + 1);
    const others = () => [api(), new Fleet(apps[1], '').user.api];

    it.each(ROUNDS)('goes to one of them when there is one slot (round %i)', async () => {
      const answers = await Promise.all(EIGHT.map((n) => callers.ask({}, others()[n % 2])));
      expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array<number>(7).fill(409)]);
      expect(new Set(answers.map(({ body }) => body.code))).toEqual(new Set([undefined, 'environment_at_capacity']));
    });

    it.each(ROUNDS)('goes to one of them when it is an exclusive workspace (round %i)', async () => {
      callers = await callersOf(null, 'big');
      const executionWorkspaceId = await workspace('exclusive');
      const answers = await Promise.all(EIGHT.map((n) => callers.ask({ executionWorkspaceId }, others()[n % 2])));
      expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array<number>(7).fill(409)]);
      expect(new Set(answers.map(({ body }) => body.code))).toEqual(new Set([undefined, 'workspace_occupied']));
    });
  });

  describe('that is held', () => {
    const renew = (id: string, body: object) =>
      api().post<{ expiresAt: string }>(`/environment-leases/${id}/renew`, body);
    const writes = (id: string, fencingToken: number) => [
      renew(id, { fencingToken, ttlSec: 3600 }),
      api().patch(`/environment-leases/${id}`, { fencingToken, metadata: { late: true } }),
      api().post(`/environment-leases/${id}/release`, { fencingToken }),
    ];

    it('is renewed for as long as it was acquired for, or as long as its holder says', async () => {
      const { id, fencingToken } = await callers.acquire({ ttlSec: 100 });
      const renewed = async (body: object) => {
        const { body: lease } = await renew(id, { fencingToken, ...body });
        return Math.round((Date.parse(lease.expiresAt) - Date.now()) / 10_000) * 10;
      };
      expect(await renewed({})).toBe(100);
      expect(await renewed({ ttlSec: 500 })).toBe(500);
    });

    it('is not renewed past the end of its lifetime', async () => {
      const { id, fencingToken } = await callers.acquire();
      await apps[0].database.query(
        `update environment_leases set lifetime_ends_at = expires_at + interval '1 s' where id = $1`,
        [id],
      );
      const { body } = await renew(id, { fencingToken, ttlSec: 3600 });
      const [row] = await apps[0].database.query(
        'select lifetime_ends_at as "expiresAt" from environment_leases where id = $1',
        [id],
      );
      expect({ expiresAt: new Date(body.expiresAt) }).toEqual(row);
    });

    it('is not renewed past when it was revoked for', async () => {
      const lease = await callers.acquire({ ttlSec: 1 });
      const revocation = { leaseId: lease.id, graceSec: 30 };
      const { body: revoked } = await api().post<{ leases: { endsAt: string }[] }>('/admin/leases/revoke', revocation);
      const { body } = await renew(lease.id, { fencingToken: lease.fencingToken, ttlSec: 3600 });
      expect(body.expiresAt).toBe(revoked.leases[0].endsAt);
      await api().post('/admin/leases/revoke', { leaseId: lease.id });
      expect(await Promise.all(writes(lease.id, lease.fencingToken))).toMatchObject(Array(3).fill({ status: 410 }));
      await apps[0].get(ReapLeases).reap();
      expect(await callers.lease(lease.id)).toMatchObject({ status: 'released' });
    });

    it.each([
      ['shows a token that is not its own', async () => undefined, 1],
      ['has let it run out', (id: string) => runOut(id), 0],
      ['has let it run out and be ended', (id: string) => runOut(id).then(() => apps[0].get(ReapLeases).reap()), 0],
    ])('is lost to a holder who %s, and nothing of it changes', async (_what, change, wrong) => {
      const { id, fencingToken } = await callers.acquire();
      await change(id);
      const before = await callers.lease(id);
      for (const answer of await Promise.all(writes(id, fencingToken + wrong))) {
        expect(answer).toMatchObject({ status: 410, body: { code: 'lease_lost' } });
      }
      expect(await callers.lease(id)).toEqual(before);
    });

    it('can be released again by whoever did not hear that it was', async () => {
      const lease = await callers.acquire();
      await callers.release(lease);
      const ended = await callers.lease(lease.id);
      await callers.release(lease);
      expect(await callers.lease(lease.id)).toEqual(ended);
    });

    it('is released without its token by operators alone', async () => {
      const { id } = await callers.acquire();
      const { body: key } = await api().post<{ token: string }>(`/agents/${await fleet.agent()}/keys`, { name: 'k' });
      const release = (by = api()) => by.post(`/environment-leases/${id}/release`, { reason: 'needed elsewhere' });
      expect(await release(api().as(key.token))).toMatchObject({
        status: 403,
        body: { code: 'fencing_token_required' },
      });
      expect(await release()).toMatchObject({ status: 200, body: { status: 'released' } });
    });

    it('expires when it is not renewed, and the record says so', async () => {
      const { id } = await callers.acquire();
      await runOut(id);
      await apps[0].get(ReapLeases).reap();
      expect(await callers.lease(id)).toMatchObject({ status: 'expired', failureReason: 'not renewed in time' });
      expect((await entriesOf(id)).at(-1)).toMatchObject({
        ...{ action: 'environment.lease_expired', actorType: 'system', actorId: 'reaper' },
        details: { holder: 'backup', reason: 'not renewed in time' },
      });
      expect(await callers.ask()).toMatchObject({ status: 201 });
    });
  });
});
