import { jest } from '@jest/globals';
import http from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { DatabaseNotifications } from '../../src/database/notifications.js';
import { ReapLeases } from '../../src/heartbeat/ending/reap-leases.js';
import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import { STARTS_CHANNEL } from '../../src/heartbeat/execution/runner.js';
import { LeaseRequests } from '../../src/heartbeat/reserving/lease-requests.js';
import { Waits } from '../../src/heartbeat/waiting/waits.js';
import { eventually } from '../support/eventually.js';
import { anyDriverIsLocal, Fleet } from '../support/fleet.js';
import { HandRunner } from '../support/hand-runner.js';
import { holdTransaction } from '../support/held-transaction.js';
import { Callers, type HeldDetails, type Reserved } from '../support/reservations.js';
import { rounds } from '../support/rounds.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

/** No runner here: runs start and end by the test's hand, in the same queue as the callers who wait. */
describe('the queue for a place', () => {
  let apps: [TestApp, TestApp];
  let fleet: Fleet;
  let callers: Callers;
  let runner: HandRunner;

  beforeAll(async () => {
    const first = await startStillApp();
    apps = [first, await startStillApp({ database: first.database })];
    runner = new HandRunner(first);
  });
  afterAll(async () => {
    await apps[1].close();
    await apps[0].close();
  });
  beforeEach(async () => {
    anyDriverIsLocal(...apps);
    fleet = new Fleet(apps[0], await new Fleet(apps[0], '').user.company());
    callers = await callersOf(1);
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    await apps[0].database.query(`update heartbeat_runs set due_at = 'infinity' where status = 'queued'`);
  });

  const callersOf = async (capacity: number) => {
    const environmentId = await fleet.create('environments', {
      name: `room for ${capacity}`,
      driver: 'other',
      capacity,
    });
    return new Callers(apps[0], fleet.user.api, fleet.companyId, environmentId);
  };
  const api = () => fleet.user.api;
  const elsewhere = () => new Fleet(apps[1], '').user.api;
  /** An agent whose runs go where the callers want to be, and one run of it that waits. */
  const waitingRun = async () => {
    const agentId = await fleet.agent(5, { defaultEnvironmentId: callers.environmentId });
    const [runId] = await fleet.wake(agentId, 1);
    await apps[0].get(Waits).look();
    return { agentId, runId };
  };
  const started = async (agentId: string): Promise<ClaimedRun> => runner.started(agentId);
  const query = <Row extends object>(sql: string, parameters: unknown[] = []) =>
    apps[0].database.query<Row>(sql, parameters);

  /** Waits at a process that does not hear of anything. */
  const somebodyElsewhere = (holder: string, executionWorkspaceId: string | null = null) =>
    query(
      `insert into lease_requests (id, company_id, environment_id, execution_workspace_id, holder, give_up_at)
       values (gen_random_uuid(), $1, $2, $3, $4, now() + interval '1 h')`,
      [fleet.companyId, callers.environmentId, executionWorkspaceId, holder],
    );
  const exclusive = () => {
    const fields = { environmentId: callers.environmentId, name: 'w', mode: 'exclusive', cwd: '/tmp' };
    return fleet.create('execution-workspaces', fields);
  };
  const runOut = (leaseId: string) =>
    query(`update environment_leases set expires_at = acquired_at + interval '1 ms' where id = $1`, [leaseId]);

  describe('for callers', () => {
    it('lets them in one after another in their order, with rising tokens, wherever they wait', async () => {
      const first = await callers.acquire();
      const queued: Promise<{ status: number; body: Reserved }>[] = [];
      for (const holder of ['a', 'b', 'c', 'd']) {
        queued.push((await callers.queue(holder, {}, 'bd'.includes(holder) ? elsewhere() : api())).answer);
      }
      const held = [first];
      for (const next of queued) {
        await callers.release(held.at(-1)!);
        const { status, body } = await next;
        expect(status).toBe(201);
        held.push(body);
      }
      expect(held.map(({ holder }) => holder)).toEqual(['backup', 'a', 'b', 'c', 'd']);
      const tokens = held.map(({ fencingToken }) => fencingToken);
      expect(tokens).toEqual([...tokens].sort((a, b) => a - b));
      expect(await callers.mostAtOnce()).toBe(1);
      expect(await callers.waiting(() => true)).toEqual([]);
    });

    it('lets eight who come at once in one after another', async () => {
      const each = async (n: number) => {
        const lease = await callers.acquire({ waitSec: 30, holder: `caller ${n}` }, n % 2 ? api() : elsewhere());
        await callers.release(lease);
        return lease;
      };
      const held = await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(each));
      const inOrder = held.sort((a, b) => a.fencingToken - b.fencingToken);
      const times = inOrder.map(({ acquiredAt }) => Date.parse(acquiredAt));
      expect(times).toEqual([...times].sort((a, b) => a - b));
      expect(await callers.mostAtOnce()).toBe(1);
    });

    it('does not count who was let in as waiting, from the same moment on', async () => {
      jest.spyOn(apps[0].get(LeaseRequests), 'leave').mockRejectedValue(new Error('The database has gone'));
      const lease = await callers.acquire();
      const next = await callers.queue('next');
      await callers.release(lease);
      await next.answer;
      expect(await callers.waiting(() => true)).toEqual([]);
    });

    it.each([
      ['is released', (lease: Reserved) => callers.release(lease)],
      ['expires', (lease: Reserved) => runOut(lease.id).then(() => apps[0].get(ReapLeases).reap())],
      ['was waited for no longer', (lease: Reserved) => callers.ask({ waitSec: 1 }).then(() => lease)],
    ])('hears at once when a lease %s', async (_how, change) => {
      const lease = await callers.acquire();
      const notify = jest.spyOn(apps[0].get(DatabaseNotifications), 'notify');
      await change(lease);
      await eventually(
        () => Promise.resolve(notify.mock.calls),
        (calls) => calls.some(([channel]) => channel === STARTS_CHANNEL),
      );
    });

    it('lets somebody in when a lease expires', async () => {
      const { id } = await callers.acquire();
      const next = await callers.queue('next');
      await runOut(id);
      await apps[1].get(ReapLeases).reap();
      expect(await next.answer).toMatchObject({ status: 201 });
    });

    it('refuses whoever has waited long enough, with what holds the place then', async () => {
      const lease = await callers.acquire();
      const { status, body } = await callers.ask({ waitSec: 1 });
      expect([status, body.code]).toEqual([409, 'environment_at_capacity']);
      expect((body.details as HeldDetails).heldBy).toMatchObject([{ leaseId: lease.id }]);
      expect(await callers.waiting(() => true)).toEqual([]);
    });

    it('says in the operators queue who waits, and for what', async () => {
      const lease = await callers.acquire();
      const next = await callers.queue('next');
      const look = async () => (await api().get<object[]>('/admin/queue?kind=reservation')).body;
      const scope = { type: 'environment', id: callers.environmentId };
      await eventually(look, ([entry]) => (entry as { waitingReason: unknown } | undefined)?.waitingReason !== null);
      expect(await look()).toMatchObject([
        {
          holder: 'next',
          environmentId: callers.environmentId,
          waitingReason: { code: 'environment_at_capacity', scope },
        },
      ]);
      await callers.release(lease);
      await next.answer;
    });

    it('waits while the environment is draining, and refuses at once when it is archived', async () => {
      await api().post(`/environments/${callers.environmentId}/drain`);
      const [one, other] = [await callers.queue('one'), await callers.queue('other')];
      await api().post(`/environments/${callers.environmentId}/activate`);
      expect(await one.answer).toMatchObject({ status: 201 });
      await api().post(`/environments/${callers.environmentId}/archive`);
      expect(await other.answer).toMatchObject({ status: 422, body: { code: 'environment_archived' } });
    });

    it('does not keep free room from others for one who waits for a workspace', async () => {
      callers = await callersOf(3);
      const executionWorkspaceId = await exclusive();
      const lease = await callers.acquire({ executionWorkspaceId });
      const next = await callers.queue('next', { executionWorkspaceId });
      const last = await callers.queue('last', { executionWorkspaceId });
      const held = await callers.acquire();
      const { agentId } = await waitingRun();
      await runner.end(await started(agentId));
      await callers.release(held);
      await callers.release(lease);
      await callers.release((await next.answer).body);
      expect(await last.answer).toMatchObject({ status: 201 });
    });

    it('forgets those whose process died', async () => {
      await somebodyElsewhere('dead');
      expect(await callers.ask()).toMatchObject({ status: 409, body: { details: { heldBy: [] } } });
      await query(`update lease_requests set seen_at = now() - interval '6 s' where holder = 'dead'`);
      const lease = await callers.acquire();
      await query(`update lease_requests set seen_at = now() - interval '61 s' where holder = 'dead'`);
      const next = await callers.queue('next');
      expect(await callers.waiting(() => true)).toEqual(['next']);
      await callers.release(lease);
      await next.answer;
    });

    it('goes on counting those who wait for long', async () => {
      const lease = await callers.acquire();
      const next = await callers.queue('next');
      const age = `select clock_timestamp() - seen_at < interval '2500 ms' as fresh from lease_requests where environment_id = $1`;
      const until = performance.now() + 3500;
      while (performance.now() < until) {
        expect(await query(age, [callers.environmentId])).toEqual([{ fresh: true }]);
        await delay(100);
      }
      await callers.release(lease);
      await next.answer;
    });

    it('is not longer than a hundred for a company', async () => {
      const lease = await callers.acquire();
      await query(
        `insert into lease_requests (id, company_id, environment_id, holder, give_up_at)
         select gen_random_uuid(), $1, $2, 'many', now() from generate_series(1, 100)`,
        [fleet.companyId, callers.environmentId],
      );
      const refusal = { status: 409, body: { code: 'too_many_waiting' } };
      expect(await callers.ask({ waitSec: 5 })).toMatchObject(refusal);
      await query(`delete from lease_requests where holder = 'many'`);
      await callers.release(lease);
    });
  });

  describe('while somebody waits', () => {
    it('holds no transaction open, with an idempotency key neither', async () => {
      const lease = await callers.acquire();
      const keyed = api().with({ 'idempotency-key': 'k2' });
      const next = await callers.queue('next', {}, keyed);
      const open = `select query from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
        and xact_start < clock_timestamp() - interval '300 ms'`;
      for (let look = 0; look < 8; look++) {
        expect(await query(open)).toEqual([]);
        await delay(100);
      }
      await callers.release(lease);
      const { body } = await next.answer;
      expect(await callers.ask({ holder: 'next', waitSec: 30 }, keyed)).toMatchObject({ status: 201, body });
    });

    it('answers two who ask with one key the same', async () => {
      const lease = await callers.acquire();
      const keyed = (by = api()) => by.with({ 'idempotency-key': 'k3' });
      const both = [callers.ask({ waitSec: 2 }, keyed()), callers.ask({ waitSec: 2 }, keyed(elsewhere()))];
      await callers.waiting(({ length }) => length === 2);
      await callers.release(lease);
      const [one, other] = await Promise.all(both);
      expect([one.status, other.status]).toEqual([201, 201]);
      expect(one.body).toEqual(other.body);
      expect(await callers.mostAtOnce()).toBe(1);
    });

    it('gives up the place of whoever hangs up', async () => {
      const lease = await callers.acquire();
      const caller = hangingUp();
      await callers.waiting(({ length }) => length === 1);
      const next = await callers.queue('next');
      caller.destroy();
      await callers.waiting((holders) => holders.length === 1 && holders[0] === 'next');
      await callers.release(lease);
      expect(await next.answer).toMatchObject({ status: 201 });
    });

    it.each([
      ['releases what was granted to somebody who had hung up', {}, 'released'],
      ['keeps it for him when he can ask again', { 'idempotency-key': 'k4' }, 'active'],
    ])('%s', async (_what, headers, status) => {
      const decision = await holdTransaction(apps[0].database, 'select 1 from environments where id = $1 for update', [
        callers.environmentId,
      ]);
      const server = apps[0].app.getHttpServer();
      const heard = new Promise((resolve) =>
        server.once('connection', (socket: Socket) => socket.once('close', resolve)),
      );
      const caller = hangingUp(headers);
      await decision.blocksSomebody();
      caller.destroy();
      await heard;
      await decision.commit();
      const granted = 'select status from environment_leases where environment_id = $1';
      await eventually(
        () => query<{ status: string }>(granted, [callers.environmentId]),
        ([row]) => row?.status === status,
      );
      if (status === 'active') {
        const body = { holder: 'gone', waitSec: 20 };
        const { body: lease } = await callers.ask(body, api().with(headers));
        expect(await callers.lease(lease.id)).toMatchObject({ status, id: lease.id });
      }
    });

    it('sends everybody away when the process stops', async () => {
      const lease = await callers.acquire();
      const app = await startStillApp({ database: apps[0].database });
      const next = await callers.queue('next', {}, new Fleet(app, '').user.api);
      await app.close();
      const { status, body, headers } = await next.answer;
      expect([status, body.code, headers.get('connection')]).toEqual([503, 'shutting_down', 'close']);
      expect(await callers.waiting(() => true)).toEqual([]);
      await callers.release(lease);
    });

    const hangingUp = (headers = {}) => {
      const path = `${apps[0].url}/api/companies/${fleet.companyId}/environment-leases`;
      const caller = http.request(path, {
        ...{ method: 'POST', agent: false },
        headers: { 'content-type': 'application/json', ...headers },
      });
      caller.on('error', () => undefined);
      caller.end(JSON.stringify({ environmentId: callers.environmentId, holder: 'gone', waitSec: 20 }));
      return caller;
    };
  });

  describe('for runs and callers', () => {
    it('lets a run go first that has waited longer', async () => {
      const lease = await callers.acquire();
      const { agentId, runId } = await waitingRun();
      const next = await callers.queue('next');
      await callers.release(lease);
      const { status, body } = await callers.ask();
      expect([status, body.code]).toEqual([409, 'environment_at_capacity']);
      expect((body.details as HeldDetails).waitingBefore).toMatchObject([
        { kind: 'run', id: runId },
        { kind: 'reservation', holder: 'next' },
      ]);
      await runner.end(await started(agentId));
      expect(await next.answer).toMatchObject({ status: 201 });
    });

    it('lets a caller go first who has waited longer', async () => {
      const lease = await callers.acquire();
      const next = await callers.queue('next');
      const { agentId } = await waitingRun();
      await callers.release(lease);
      expect(await runner.start(agentId)).toBeNull();
      await callers.release((await next.answer).body);
      await runner.end(await started(agentId));
    });

    it('does not let a stream of callers pass a run', async () => {
      const first = await callers.acquire();
      const before = await callers.queue('before');
      const { agentId } = await waitingRun();
      const after = [await callers.queue('after 1'), await callers.queue('after 2')];
      await callers.release(first);
      const { body: second } = await before.answer;
      await apps[0].get(Waits).look();
      await callers.release(second);
      await callers.ask();
      const run = await started(agentId);
      await runner.end(run);
      for (const { answer } of after) await callers.release((await answer).body);
    });

    it('does not let a stream of runs pass a caller', async () => {
      const agentId = await fleet.agent(5, { defaultEnvironmentId: callers.environmentId });
      await fleet.wake(agentId, 1);
      const first = await started(agentId);
      const next = await callers.queue('next');
      for (let task = 0; task < 3; task++) await fleet.user.wake(agentId, { payload: { taskKey: `later ${task}` } });
      await apps[0].get(Waits).look();
      const ended = runner.end(first);
      const starts = [];
      for (let look = 0; look < 5; look++) starts.push(await runner.start(agentId));
      await ended;
      expect(starts).toEqual([null, null, null, null, null]);
      await callers.release((await next.answer).body);
      await runner.end(await started(agentId));
    });

    it('remembers that a run waited for room, after those before it have gone', async () => {
      await somebodyElsewhere('before');
      const { agentId, runId } = await waitingRun();
      await query(`update lease_requests set seen_at = now() - interval '6 s' where holder = 'before'`);
      const waitingBefore = [{ kind: 'run', id: runId }];
      expect(await callers.ask()).toMatchObject({ status: 409, body: { details: { waitingBefore } } });
      await runner.end(await started(agentId));
      expect(await callers.ask()).toMatchObject({ status: 201 });
    });

    it('lets them into an exclusive workspace in their order as well', async () => {
      callers = await callersOf(9);
      const executionWorkspaceId = await exclusive();
      const lease = await callers.acquire({ executionWorkspaceId });
      await somebodyElsewhere('first', executionWorkspaceId);
      const agentId = await fleet.agent();
      const runId = await fleet.wakeFor(agentId, { executionWorkspaceId });
      await apps[0].get(Waits).look();
      await callers.release(lease);
      expect(await runner.start(agentId)).toBeNull();
      const [first, second] = [
        { kind: 'reservation', holder: 'first' },
        { kind: 'run', id: runId },
      ];
      const refused = (waitingBefore: object[]) => ({
        status: 409,
        body: { code: 'workspace_occupied', details: { waitingBefore } },
      });
      expect(await callers.ask({ executionWorkspaceId })).toMatchObject(refused([first, second]));
      await query(`delete from lease_requests where holder = 'first'`);
      expect(await callers.ask({ executionWorkspaceId })).toMatchObject(refused([second]));
      await runner.end(await started(agentId));
      expect(await callers.ask({ executionWorkspaceId })).toMatchObject({ status: 201 });
    });

    it('does not wait for a run that something else keeps from starting', async () => {
      const lease = await callers.acquire();
      const { agentId } = await waitingRun();
      const next = await callers.queue('next');
      await api().post(`/agents/${agentId}/pause`);
      await apps[0].get(Waits).look();
      await callers.release(lease);
      expect(await next.answer).toMatchObject({ status: 201 });
    });

    it.each(Array.from({ length: rounds(9) }, (_, round) => round + 1))(
      'gives one slot to one of a run and a caller who come at once (round %i)',
      async () => {
        const { agentId } = await waitingRun();
        const [run, { status }] = await Promise.all([runner.start(agentId), callers.ask({}, elsewhere())]);
        expect([run === null, status]).toEqual(status === 201 ? [true, 201] : [false, 409]);
      },
    );
  });
});
