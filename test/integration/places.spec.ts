import { jest } from '@jest/globals';
import { access, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DriverRegistry } from '../../src/environments/drivers/driver-registry.js';
import type { EnvironmentDriver } from '../../src/environments/drivers/environment-driver.port.js';
import { RealisePlace } from '../../src/heartbeat/execution/realise-place.js';
import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import { LeaseLostError } from '../../src/leases/lease-errors.js';
import { SettlePlaces } from '../../src/leases/places/settle-places.js';
import { eventually } from '../support/eventually.js';
import type { Lease } from '../support/scenario.js';
import { Berths } from '../support/places.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

let app: TestApp;
const made: Berths[] = [];

beforeAll(async () => {
  app = await startTestApp({ config: { runnerSlots: 2, httpAllow: ['127.0.0.1'] } });
});
afterAll(async () => {
  await Promise.all(made.map((one) => one.remove()));
  await app.close();
});

async function berths(fields: object = {}): Promise<Berths> {
  const one = await Berths.in(app.url, fields);
  made.push(one);
  return one;
}

/** Runs an agent once, to its end. */
async function runOf(at: Berths, agentId: string, status = 'succeeded') {
  const { id } = await at.user.wake(agentId);
  const run = await at.user.ended(id);
  expect(run).toMatchObject({ status });
  return run;
}

const leaseOf = async (at: Berths, runId: string) => {
  const [lease] = await at.user.leases(runId);
  return lease;
};

describe('a directory for each lease', () => {
  it('is there while the run executes, for its user alone, and gone afterwards', async () => {
    const at = await berths();
    const { id } = await runOf(at, await at.agent('pwd; stat -c %a .; touch left-behind'));
    const place = await at.reached(id, 'gone');
    expect(await at.user.log(id)).toBe(`${join(at.root, place.id)}\n700\n`);
    expect(await at.directories()).toEqual([]);
    expect(await leaseOf(at, id)).toMatchObject({
      status: 'released',
      providerLeaseId: join(at.root, place.id),
      cleanupStatus: 'success',
      cleanupAttempts: 1,
      heldUntil: expect.any(String),
    });
    expect(await at.history(place.id)).toEqual(['realising', 'ready', 'cleaning', 'gone']);
  });

  it('is below the home of Berth where no other is given', async () => {
    const at = await berths({ config: { directory: 'per_lease' } });
    const { id } = await runOf(at, await at.agent('pwd'));
    const { facts } = await at.reached(id, 'gone');
    expect(await at.user.log(id)).toBe(`${facts.directory}\n`);
    expect(facts.directory).toBe(join(app.config.home, 'places', at.companyId, facts.placeId));
  });

  it('is taken down from where it was made, whatever became of the config', async () => {
    const at = await berths();
    const { id } = await at.user.wake(await at.agent('echo begun; until [ -e stop ]; do sleep 0.02; done'));
    const { facts } = await at.reached(id, 'in_use');
    await at.user.api.patch(`/environments/${at.environmentId}`, {
      config: { directory: 'shared', cwd: '/elsewhere' },
    });
    await writeFile(join(facts.directory, 'stop'), '');
    await at.reached(id, 'gone');
    expect(await at.directories()).toEqual([]);
  });

  it('is not used by a run with a workspace, and taken down all the same', async () => {
    const at = await berths();
    const cwd = join(app.config.home, 'a workspace');
    const { body: workspace } = await at.user.api.post<{ id: string }>(
      `/companies/${at.companyId}/execution-workspaces`,
      {
        environmentId: at.environmentId,
        name: 'ws',
        mode: 'shared',
        cwd,
      },
    );
    const issueId = await at.user.issue(at.companyId, { executionWorkspaceId: workspace.id });
    const { id } = await at.user.wake(await at.agent('pwd'), { payload: { issueId } });
    await at.user.ended(id);
    expect(await at.user.log(id)).toBe(`${cwd}\n`);
    await at.reached(id, 'gone');
  });

  it('that cannot be made fails its run, and holds nothing any more', async () => {
    const at = await berths({ config: { directory: 'per_lease', cwd: '/dev/null/nowhere' }, capacity: 1 });
    const agent = await at.agent('true');
    const { id } = await runOf(at, agent, 'failed');
    expect(await at.user.run(id)).toMatchObject({ errorCode: 'place_unavailable' });
    await at.reached(id, 'gone');
    await runOf(at, agent, 'failed');
  });
});

describe('a process that is asked to stop', () => {
  it('takes down what its last runs leave', async () => {
    const stopping = await startTestApp({ config: { drainSec: 0 } });
    const at = await Berths.in(stopping.url);
    made.push(at);
    const { id } = await at.user.wake(await at.agent('sleep 600'));
    await at.reached(id, 'in_use');
    expect(await at.directories()).toHaveLength(1);
    await stopping.close();
    expect(await at.directories()).toEqual([]);
  });
});

describe('the policy reuse_by_environment', () => {
  it('hands the place on with what the former holder left in it', async () => {
    const at = await berths({ leasePolicy: 'reuse_by_environment', capacity: 1 });
    const agent = await at.agent('cat mark 2>/dev/null || echo nothing; echo "$PAPERCLIP_RUN_ID" > mark');
    const first = await runOf(at, agent);
    const { id, keepUntil } = await at.reached(first.id, 'warm');
    expect(keepUntil).not.toBeNull();
    expect(await leaseOf(at, first.id)).toMatchObject({
      status: 'released',
      heldUntil: null,
      cleanupStatus: null,
      slot: 1,
    });
    const second = await runOf(at, agent);
    expect(await at.user.log(second.id)).toBe(`${first.id}\n`);
    expect(await at.placeOf(second.id)).toMatchObject({ id, keepUntil: expect.any(String) });
    expect(await leaseOf(at, first.id)).toMatchObject({ heldUntil: expect.any(String) });
    expect(await at.history(id)).toEqual(['realising', 'ready', 'kept_warm', 'taken_over', 'kept_warm']);
  });

  it('hands it on to nobody who finds another config, or executes otherwise', async () => {
    const at = await berths({ leasePolicy: 'reuse_by_environment' });
    const first = await runOf(at, await at.agent('true'));
    const { id } = await at.reached(first.id, 'warm');
    const { body: http } = await at.user.api.post<{ id: string }>(`/companies/${at.companyId}/agents`, {
      name: 'by http',
      adapterType: 'http',
      adapterConfig: { url: `${app.url}/api/health`, method: 'GET' },
      defaultEnvironmentId: at.environmentId,
    });
    const { id: byHttp } = await at.user.wake(http.id);
    await at.user.ended(byHttp);
    expect((await at.placeOf(byHttp)).id).not.toBe(id);
    await at.user.api.patch(`/environments/${at.environmentId}`, {
      config: { directory: 'per_lease', cwd: `${at.root}/2` },
    });
    const elsewhere = await runOf(at, await at.agent('true'));
    expect((await at.placeOf(elsewhere.id)).id).not.toBe(id);
    expect(await at.place(id)).toMatchObject({ state: 'warm' });
  });

  it('has it taken down when it was idle for long enough', async () => {
    const at = await berths({ leasePolicy: 'reuse_by_environment', warmSec: 1 });
    const { id } = await runOf(at, await at.agent('true'));
    const { id: placeId } = await at.reached(id, 'gone');
    expect(await at.directories()).toEqual([]);
    expect(await at.history(placeId)).toEqual(['realising', 'ready', 'kept_warm', 'cleaning', 'gone']);
  });

  it('has it taken down when its environment takes no more leases', async () => {
    const at = await berths({ leasePolicy: 'reuse_by_environment' });
    const { id } = await runOf(at, await at.agent('true'));
    await at.reached(id, 'warm');
    await at.user.api.post(`/environments/${at.environmentId}/drain`);
    await at.reached(id, 'gone');
  });

  it('has the place of a run that failed taken down', async () => {
    const at = await berths({ leasePolicy: 'reuse_by_environment' });
    const { id } = await runOf(at, await at.agent('exit 1'), 'failed');
    await at.reached(id, 'gone');
  });
});

describe('the policy retain_on_failure', () => {
  const FAILS = 'echo evidence > mark; exit 1';

  it('keeps the place of a run that failed, and its slot, until it is released', async () => {
    const at = await berths({ leasePolicy: 'retain_on_failure', capacity: 1 });
    const failed = await runOf(at, await at.agent(FAILS), 'failed');
    const { id: next } = await at.user.wake(await at.agent('true'));
    const place = await at.reached(failed.id, 'retained');
    await access(join(place.facts.directory, 'mark'));
    expect(await leaseOf(at, failed.id)).toMatchObject({ status: 'retained', heldUntil: null });
    expect((await at.user.run(next)).status).toBe('queued');

    const extended = await at.act(place.id, 'extend', { keepSec: 200_000 });
    expect(extended).toMatchObject({ status: 200, body: { state: 'retained' } });
    expect(Date.parse(extended.body.keepUntil!)).toBeGreaterThan(Date.parse(place.keepUntil!));
    expect((await at.user.run(next)).status).toBe('queued');

    expect(await at.act(place.id, 'release')).toMatchObject({ status: 200, body: { state: 'cleaning' } });
    expect((await at.user.ended(next)).status).toBe('succeeded');
    expect(await leaseOf(at, failed.id)).toMatchObject({ status: 'failed', cleanupStatus: 'success' });
    const history = ['realising', 'ready', 'retained', 'changed', 'cleaning', 'gone'];
    expect(await at.history(place.id)).toEqual(history);
  });

  it('keeps nothing of a run that succeeded', async () => {
    const at = await berths({ leasePolicy: 'retain_on_failure' });
    const { id } = await runOf(at, await at.agent('true'));
    await at.reached(id, 'gone');
  });

  it('has it taken down when nobody looked in time', async () => {
    const at = await berths({ leasePolicy: 'retain_on_failure', retainSec: 1 });
    const { id } = await runOf(at, await at.agent(FAILS), 'failed');
    await at.reached(id, 'gone');
  });

  it('lists leases as retained, and not as failed, as long as that lasts', async () => {
    const at = await berths({ leasePolicy: 'retain_on_failure' });
    const { id } = await runOf(at, await at.agent(FAILS), 'failed');
    const { id: placeId } = await at.reached(id, 'retained');
    const listed = async (status: string) => {
      const path = `/companies/${at.companyId}/environment-leases?status=${status}`;
      return (await at.user.api.get<Lease[]>(path)).body.map(({ heartbeatRunId }) => heartbeatRunId);
    };
    expect([await listed('retained'), await listed('failed')]).toEqual([[id], []]);
    await at.act(placeId, 'release');
    await at.reached(id, 'gone');
    expect([await listed('retained'), await listed('failed')]).toEqual([[], [id]]);
  });
});

describe('a runner that makes a place', () => {
  let realise: jest.SpiedFunction<EnvironmentDriver['realise']>;
  let local: EnvironmentDriver;
  beforeEach(() => {
    local = app.get(DriverRegistry).get('local');
    const original = local.realise.bind(local);
    realise = jest.spyOn(local, 'realise').mockImplementation((...request) => original(...request));
  });
  afterEach(() => jest.restoreAllMocks());

  /** Does something while the driver makes the next place; that is ready afterwards. */
  function meanwhile(work: (placeId: string) => Promise<unknown>): void {
    const original = realise.getMockImplementation()!;
    realise.mockImplementationOnce(async (request, signal) => {
      await work(request.facts!.placeId as string);
      return original(request, signal).catch(() => original(request, new AbortController().signal));
    });
  }

  const release = (at: Berths, runId: string) =>
    at.user.api.post(`/heartbeat-runs/${runId}/leases/release`, { force: true });

  it('goes on when the answer was lost that it is ready', async () => {
    const at = await berths();
    const places = app.get(SettlePlaces);
    const ready = places.ready.bind(places);
    jest.spyOn(places, 'ready').mockImplementationOnce(async (...place) => {
      await ready(...place);
      throw Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' });
    });
    const { id } = await runOf(at, await at.agent('true'));
    const place = await at.reached(id, 'gone');
    expect(await at.history(place.id)).toEqual(['realising', 'ready', 'cleaning', 'gone']);
  });

  it('has it taken down at once when its lease was lost meanwhile', async () => {
    const at = await berths();
    const runId = Promise.withResolvers<string>();
    meanwhile(async () => release(at, await runId.promise));
    const { id } = await at.user.wake(await at.agent('touch never'));
    runId.resolve(id);
    expect(await at.user.ended(id)).toMatchObject({ status: 'cancelled', errorCode: 'lease_revoked' });
    await at.reached(id, 'gone');
    expect(await at.directories()).toEqual([]);
    expect(await at.user.log(id)).toBe('');
  });

  it('does not begin once its lease has run out', async () => {
    // Nobody executes it any more.
    const run = { id: 'a run', lease: { id: 'a lease' } } as ClaimedRun;
    await expect(app.get(RealisePlace).realise(run, local)).rejects.toThrow(LeaseLostError);
    expect(realise).not.toHaveBeenCalled();
  });

  it('takes down itself what counted as gone before it was made', async () => {
    const at = await berths();
    const runId = Promise.withResolvers<string>();
    meanwhile(async (placeId) => {
      await release(at, await runId.promise);
      await at.act(placeId, 'forget', { reason: 'The host is gone' });
      teardown.mockClear();
    });
    const teardown = jest.spyOn(local, 'teardown');
    const { id } = await at.user.wake(await at.agent('true'));
    runId.resolve(id);
    await eventually(
      async () => teardown.mock.results.at(-1)?.value,
      (answer) => answer === 'removed',
    );
    expect(await at.directories()).toEqual([]);
  });
});
