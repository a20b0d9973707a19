import { jest } from '@jest/globals';
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { bootstrap } from '../../src/bootstrap.js';
import { EmbeddedPostgres } from '../../src/database/embedded/embedded-postgres.js';
import { Quarantine } from '../../src/database/restore/quarantine.js';
import { ReapLeases } from '../../src/heartbeat/ending/reap-leases.js';
import { Reaper } from '../../src/heartbeat/ending/reaper.js';
import { Fleet } from '../support/fleet.js';
import { eventually } from '../support/eventually.js';
import { HandRunner } from '../support/hand-runner.js';
import { testConfig, type TestApp } from '../support/test-app.js';

interface Health {
  status: string;
  quarantine: { since: string; reason: string } | null;
}

describe('a backup of the embedded database that is put back', () => {
  let home: string;
  let postgres: EmbeddedPostgres;
  let app: TestApp;

  beforeAll(async () => {
    home = await mkdtemp(path.join(tmpdir(), 'berth-home-'));
    await chmod(home, 0o755);
  });
  afterAll(async () => {
    await stop();
    await rm(home, { recursive: true, force: true });
  });

  async function start(): Promise<void> {
    postgres = await EmbeddedPostgres.start(home, { settings: { fsync: 'off' } });
    const url = await postgres.ensureDatabase('berth');
    const config = await testConfig(url, { home, roles: new Set(['api']) });
    const application = await bootstrap(config);
    app = {
      app: application,
      config,
      url: `http://127.0.0.1:${config.port}`,
      get: (type) => application.get(type, { strict: false }),
      database: { url, query: (sql, parameters) => query(url, sql, parameters), close: () => Promise.resolve() },
      close: () => application.close(),
    };
  }

  async function stop(): Promise<void> {
    await app.close();
    await postgres.stop();
  }

  const data = () => path.join(home, 'postgres');
  const backup = () => path.join(home, 'backup');
  const statusOf = async (leaseId: string) =>
    (await app.database.query<{ status: string }>('select status from environment_leases where id = $1', [leaseId]))[0]
      .status;
  const epoch = async () => (await app.database.query<{ epoch: string }>('select epoch from instance'))[0].epoch;

  /** Starts another run of the agent, as a runner would. */
  async function lease(fleet: Fleet, agentId: string) {
    await fleet.wake(agentId, 1);
    return (await new HandRunner(app).started(agentId)).lease;
  }

  it('ends no lease that it takes for active, until an operator confirms it, and gives out no token twice', async () => {
    await start();
    await app.get(Reaper).beforeApplicationShutdown();
    const before = await epoch();
    const fleet = new Fleet(app, await new Fleet(app, '').user.company());
    const agentId = await fleet.agent();
    const { id: leaseId } = await lease(fleet, agentId);
    await app.database.query(`update environment_leases set expires_at = acquired_at + interval '1 ms'`);
    await stop();
    await promisify(execFile)('cp', ['-a', data(), backup()]);

    await start();
    await app.get(Reaper).beforeApplicationShutdown();
    await app.get(ReapLeases).reap();
    expect(await statusOf(leaseId)).toBe('expired');
    const later = new Fleet(app, fleet.companyId);
    const given = [await lease(later, agentId), await lease(later, agentId)].map(({ fencingToken }) => fencingToken);
    await stop();
    await rm(data(), { recursive: true });
    await rename(backup(), data());

    await start();
    const restored = new Fleet(app, fleet.companyId);
    const { api } = restored.user;
    const health = await api.get<Health>('/health');
    expect(health).toMatchObject({ status: 200, body: { status: 'ok' } });
    expect(health.body.quarantine?.reason).toMatch(new RegExp(`, and ${Math.max(...given)} had been given out$`));
    expect(await epoch()).not.toBe(before);
    expect((await lease(restored, agentId)).fencingToken).toBeGreaterThan(Math.max(...given));

    const passes = jest.spyOn(app.get(Quarantine), 'isActive');
    await eventually(
      () => Promise.resolve(passes.mock.calls.length),
      (count) => count >= 2,
    );
    expect(await statusOf(leaseId)).toBe('active');

    expect((await api.get('/admin/quarantine')).body).toEqual({ quarantine: health.body.quarantine });
    const confirm = () => api.post('/admin/quarantine/confirm');
    expect(await confirm()).toMatchObject({ status: 200, body: { quarantine: null } });
    await eventually(
      () => statusOf(leaseId),
      (status) => status === 'expired',
    );
    expect(await confirm()).toMatchObject({ status: 200, body: { quarantine: null } });
    expect((await api.get<Health>('/health')).body.quarantine).toBeNull();
  });

  it('is confirmed by operators only', async () => {
    const fleet = new Fleet(app, await new Fleet(app, '').user.company());
    const path = `/agents/${await fleet.agent()}/keys`;
    const { body: key } = await fleet.user.api.post<{ token: string }>(path, { name: 'key' });
    const agent = fleet.user.api.as(key.token);
    for (const answer of [await agent.get('/admin/quarantine'), await agent.post('/admin/quarantine/confirm')]) {
      expect(answer).toMatchObject({ status: 403, body: { code: 'operator_only' } });
    }
  });
});

async function query<Row extends object>(url: string, sql: string, parameters: unknown[] = []): Promise<Row[]> {
  const client = new Client(url);
  await client.connect();
  try {
    return (await client.query<Row>(sql, parameters)).rows;
  } finally {
    await client.end();
  }
}
