import { jest } from '@jest/globals';
import { ClaimRuns } from '../../src/heartbeat/claiming/claim-runs.js';
import { Gate } from '../../src/heartbeat/claiming/gate.js';
import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import { WaitDeadlines } from '../../src/heartbeat/waiting/wait-deadlines.js';
import { Waits } from '../../src/heartbeat/waiting/waits.js';
import { anyDriverIsLocal, Fleet } from '../support/fleet.js';
import { rounds } from '../support/rounds.js';
import type { ActivityEntry } from '../support/scenario.js';
import { outcome, startStillApp, Steps } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

interface LeaseRow {
  slot: number | null;
  acquired_at: Date;
  held_until: Date | null;
  fencing_token: string;
}

interface Placed {
  waitingReason: {
    code: string;
    message: string;
    scope: { type: string; id: string } | null;
    heldBy: { heartbeatRunId: string }[];
    capacity: number;
  } | null;
  placement: { slot: number; found: object; waitedFor: { code: string } | null; references: object } | null;
}

describe('an environment with a capacity', () => {
  let app: TestApp;
  let steps: Steps;
  let fleet: Fleet;
  let environmentId: string;

  beforeAll(async () => {
    app = await startStillApp();
    steps = new Steps(app);
  });
  afterAll(() => app.close());
  beforeEach(async () => {
    anyDriverIsLocal(app);
    await steps.clear();
    fleet = await newFleet();
    environmentId = await fleet.create('environments', { name: 'build-box', driver: 'other', capacity: 1 });
  });
  afterEach(() => jest.restoreAllMocks());

  const newFleet = async () => new Fleet(app, await new Fleet(app, '').user.company());
  const agentThere = (cap = 10) => fleet.agent(cap, { defaultEnvironmentId: environmentId });
  const setCapacity = (capacity: number | null) => fleet.user.api.patch(`/environments/${environmentId}`, { capacity });
  const leasesThere = () =>
    app.database.query<LeaseRow>(
      `select slot, acquired_at, held_until, fencing_token from environment_leases where environment_id = $1 order by id`,
      [environmentId],
    );
  const heldThere = async () => (await leasesThere()).filter((lease) => lease.held_until === null);
  const placement = async (runId: string) =>
    (await fleet.user.api.get<Placed>(`/heartbeat-runs/${runId}/placement`)).body;
  const dispatchAll = async (): Promise<ClaimedRun[]> => {
    const runs: ClaimedRun[] = [];
    for (let run = await steps.dispatch(); run; run = await steps.dispatch()) runs.push(run);
    return runs;
  };

  it('is held by no more runs than that, in slots of their own', async () => {
    await setCapacity(3);
    await fleet.wake(await agentThere(), 5);
    const started = await dispatchAll();
    expect(started).toHaveLength(3);
    expect((await heldThere()).map(({ slot }) => slot)).toEqual([1, 2, 3]);

    await steps.end(started[1], outcome.succeeded());
    expect(await dispatchAll()).toHaveLength(1);
    expect((await heldThere()).map(({ slot }) => slot).toSorted()).toEqual([1, 2, 3]);
  });

  it('admits nothing until a lowered capacity fits', async () => {
    await setCapacity(3);
    await fleet.wake(await agentThere(), 5);
    const started = await dispatchAll();
    await setCapacity(1);
    for (const run of started.slice(0, 2)) {
      await steps.end(run, outcome.succeeded());
      expect(await steps.dispatch()).toBeNull();
    }
    await steps.end(started[2], outcome.succeeded());
    expect(await dispatchAll()).toHaveLength(1);
  });

  it('counts those, too, that began to hold it while it had none', async () => {
    await setCapacity(null);
    await fleet.wake(await agentThere(), 4);
    const first = await steps.started();
    await setCapacity(2);
    expect(await dispatchAll()).toHaveLength(1);
    await steps.end(first, outcome.succeeded());
    expect(await dispatchAll()).toHaveLength(1);
    expect((await heldThere()).map(({ slot }) => slot).toSorted()).toEqual([1, 2]);
  });

  it('is taken over no earlier than it was given up, even when the clock was set back', async () => {
    await fleet.wake(await agentThere(), 2);
    await steps.end(await steps.started(), outcome.succeeded());
    await app.database.query(
      `update environment_leases set held_until = held_until + interval '1 hour', released_at = released_at + interval '1 hour'
       where environment_id = $1`,
      [environmentId],
    );
    await steps.started();
    const [before, after] = await leasesThere();
    expect(after.acquired_at).toEqual(before.held_until);
    expect(Number(after.fencing_token)).toBeGreaterThan(Number(before.fencing_token));
  });

  it('is taken over no earlier than it was given up when the one before that began at the same time, and ended', async () => {
    await fleet.wake(await agentThere(), 3);
    for (let n = 0; n < 2; n++) await steps.end(await steps.started(), outcome.succeeded());
    // The later one first: what was written last is found first.
    for (const [token, held] of [
      ['max', '1 hour'],
      ['min', '0'],
    ]) {
      await app.database.query(
        `update environment_leases set acquired_at = at, last_used_at = at, expires_at = at + interval '1 minute',
           lifetime_ends_at = at + interval '2 hours', released_at = at + $2::interval, held_until = at + $2::interval
         from (select date_trunc('hour', now()) + interval '2 hours' as at) x
         where fencing_token = (select ${token}(fencing_token) from environment_leases where environment_id = $1)`,
        [environmentId, held],
      );
    }
    await steps.started();
    const [, before, after] = await leasesThere();
    expect(after.acquired_at).toEqual(before.held_until);
  });

  it('does not hold up runs that go elsewhere', async () => {
    const agentId = await agentThere();
    await fleet.wake(agentId, 3);
    await steps.started();
    const elsewhere = await fleet.create('environments', { name: 'elsewhere', driver: 'other' });
    const issueId = await fleet.user.issue(fleet.companyId, { environmentId: elsewhere });
    const { id } = await fleet.user.wake(agentId, { payload: { issueId } });
    expect((await steps.started()).id).toBe(id);
  });

  describe('under several processes', () => {
    let others: TestApp[];

    beforeAll(async () => {
      others = [];
      for (let n = 0; n < 7; n++) others.push(await startStillApp({ database: app.database }));
    });
    afterAll(async () => {
      for (const other of others) await other.close();
    });

    it.each(Array.from({ length: rounds(9) }, (_, round) => round))(
      'gives its one slot to one of eight, and refuses the others without a fault (round %i)',
      async () => {
        const apps = [app, ...others];
        anyDriverIsLocal(...apps);
        for (let agent = 0; agent < 8; agent++) await fleet.wake(await agentThere(), 1);
        await setCapacity(8);
        const { candidates: seen } = await app.get(Gate).candidates(8);
        expect(seen).toHaveLength(8);
        await setCapacity(1);
        const claims = seen.map((candidate, n) => apps[n].get(ClaimRuns).claim([candidate], 1));
        expect((await Promise.all(claims)).flat()).toHaveLength(1);
        expect(await heldThere()).toHaveLength(1);
      },
    );
  });

  describe('with six that want in, and room for two', () => {
    it('says of each who holds it, and starts them in turn', async () => {
      await setCapacity(2);
      const agents = [await agentThere(), await agentThere(), await agentThere()];
      for (const agentId of agents) await fleet.wake(agentId, 2);
      const started = await dispatchAll();
      expect(new Set(started.map(({ agentId }) => agentId)).size).toBe(2);

      const queue = await fleet.user.api.get<(Placed & { id: string; kind: string; waitedSec: number })[]>(
        `/admin/queue?environmentId=${environmentId}`,
      );
      // Asked by environment, the queue shows whom it knows to wait for it: as of the last look.
      expect(queue.body).toEqual([]);
      await app.get(Waits).look();
      const known = await fleet.user.api.get<(Placed & { id: string })[]>(
        `/admin/queue?environmentId=${environmentId}`,
      );
      expect(known.body).toHaveLength(4);
      const holders = started.map(({ id }) => `run ${id}`).join(', ');
      for (const { id, waitingReason } of known.body) {
        expect(waitingReason).toMatchObject({
          code: 'environment_at_capacity',
          message: `The environment "build-box" is at its capacity: 2 of 2, held by ${holders}`,
          scope: { type: 'environment', id: environmentId },
          capacity: 2,
          heldBy: started.map((run) => expect.objectContaining({ heartbeatRunId: run.id })),
        });
        expect((await placement(id)).waitingReason).toMatchObject({ code: 'environment_at_capacity' });
      }

      const order = started.map(({ agentId }) => agentId);
      const running = [...started];
      while (running.length > 0) {
        await steps.end(running.shift()!, outcome.succeeded());
        const next = await steps.dispatch();
        if (!next) continue;
        running.push(next);
        order.push(next.agentId);
      }
      expect(order).toHaveLength(6);
      expect(new Set(order.slice(0, 3)).size).toBe(3);
      expect(order.slice(3)).toEqual(order.slice(0, 3));
    });

    it('leaves a run alone that is about to be claimed', async () => {
      const [id] = await fleet.wake(await agentThere(), 1);
      const stored = `select waiting_reason ->> 'code' as code from heartbeat_runs where id = $1`;
      await app.get(Waits).look();
      expect(await app.database.query(stored, [id])).toEqual([{ code: null }]);
      await app.database.query(`update heartbeat_runs set due_at = due_at - interval '1 min' where id = $1`, [id]);
      await app.get(Waits).look();
      expect(await app.database.query(stored, [id])).toEqual([{ code: 'no_runner' }]);
    });

    it('keeps with a run what it had waited for, and what the gate found', async () => {
      const [first, second] = await fleet.wake(await agentThere(), 2);
      const holder = await steps.started();
      await app.get(Waits).look();
      await steps.end(holder, outcome.succeeded());
      await steps.started();
      const { waitingReason, placement: kept } = await placement(second === holder.id ? first : second);
      expect(waitingReason).toBeNull();
      expect(kept).toMatchObject({
        decidedBy: 'agent',
        references: { issue: null, workspace: null, agent: environmentId, company: null },
        slot: 1,
        found: { environment: { held: 0, capacity: 1 }, agent: { running: 0, cap: 10 }, company: null },
        waitedFor: { code: 'environment_at_capacity', scope: { type: 'environment', id: environmentId } },
      });
    });
  });

  describe('and a company that waits only so long', () => {
    it('fails a run with what it waited for', async () => {
      await fleet.user.api.patch(`/companies/${fleet.companyId}`, { maxWaitSec: 60 });
      const agentId = await agentThere();
      await fleet.wake(agentId, 1);
      const holder = await steps.started();
      const [id] = await fleet.wake(agentId, 1);
      expect(await app.get(WaitDeadlines).enforce()).toBe(0);
      await app.database.query(`update heartbeat_runs set due_at = due_at - interval '61 s' where id = $1`, [id]);
      expect(await app.get(WaitDeadlines).enforce()).toBe(1);
      expect(await fleet.user.run(id)).toMatchObject({
        status: 'failed',
        errorCode: 'wait_timed_out',
        error: `It waited longer than 60 seconds, the company's limit. The environment "build-box" is at its capacity: 1 of 1, held by run ${holder.id}`,
      });
      const path = `/companies/${fleet.companyId}/activity?runId=${id}`;
      const [entry] = (await fleet.user.api.get<ActivityEntry[]>(path)).body;
      expect(entry).toMatchObject({ action: 'heartbeat.failed', actorType: 'system', actorId: 'wait-deadline' });
    });

    it('fails nothing while a restore is not confirmed', async () => {
      await fleet.user.api.patch(`/companies/${fleet.companyId}`, { maxWaitSec: 60 });
      const [id] = await fleet.wake(await agentThere(), 1);
      await app.database.query(`update heartbeat_runs set due_at = due_at - interval '61 s' where id = $1`, [id]);
      await app.database.query(`update instance set quarantined_at = now(), quarantine_reason = 'restored'`);
      await app.get(Waits).look();
      expect((await fleet.user.run(id)).status).toBe('queued');
      await app.database.query('update instance set quarantined_at = null, quarantine_reason = null');
      await app.get(Waits).look();
      expect((await fleet.user.run(id)).status).toBe('failed');
    });

    it('lets those wait that have not waited so long, and those of others', async () => {
      await fleet.user.api.patch(`/companies/${fleet.companyId}`, { maxWaitSec: 60 });
      await fleet.wake(await agentThere(), 1);
      const other = await newFleet();
      const [theirs] = await other.wake(await other.agent(), 1);
      await app.database.query(`update heartbeat_runs set due_at = due_at - interval '1 day' where id = $1`, [theirs]);
      expect(await app.get(WaitDeadlines).enforce()).toBe(0);
    });
  });
});

describe('turns', () => {
  let app: TestApp;
  let steps: Steps;

  beforeAll(async () => {
    app = await startStillApp();
    steps = new Steps(app);
  });
  afterAll(() => app.close());
  beforeEach(() => steps.clear());

  const fleetOf = async () => new Fleet(app, await new Fleet(app, '').user.company());

  it('go round the companies, however many agents one has', async () => {
    const [large, small] = [await fleetOf(), await fleetOf()];
    for (let agent = 0; agent < 6; agent++) await large.wake(await large.agent(), 1);
    await small.wake(await small.agent(), 3);
    const order: string[] = [];
    for (let n = 0; n < 6; n++) {
      const run = await steps.started();
      order.push(run.companyId === small.companyId ? 'small' : 'large');
      await steps.end(run, outcome.succeeded());
    }
    expect(order.filter((who) => who === 'small')).toHaveLength(3);
    expect(order.join(' ')).toMatch(/^(large small ?){3}$|^(small large ?){3}$/);
  });

  it('go by priority among the runs of an agent, and what has waited long enough comes before any', async () => {
    const fleet = await fleetOf();
    const agentId = await fleet.agent();
    const wait = (id: string, minutes: number) =>
      app.database.query(`update heartbeat_runs set due_at = now() - make_interval(mins => $2) where id = $1`, [
        id,
        minutes,
      ]);
    const low = await fleet.wakeFor(agentId, { priority: 'low' });
    const medium = await fleet.wakeFor(agentId, { priority: 'medium' });
    const critical = await fleet.wakeFor(agentId, { priority: 'critical' });
    const old = await fleet.wakeFor(agentId, { priority: 'low' });
    await Promise.all([wait(low, 2), wait(medium, 1), wait(critical, 0), wait(old, 120)]);
    const order = [];
    for (let n = 0; n < 4; n++) order.push((await steps.started()).id);
    expect(order).toEqual([old, critical, medium, low]);
  });
});
