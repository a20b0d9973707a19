import { RunnerIdentity } from '../../src/heartbeat/runs/runner-identity.js';
import { eventually } from '../support/eventually.js';
import { Scenario } from '../support/scenario.js';
import { startStillApp } from '../support/still-app.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

interface Runner {
  id: string;
  host: string;
  state: string;
  running: number;
  lastSeenAt: string;
  drainingSince: string | null;
  stoppedAt: string | null;
}

describe('the list of runners', () => {
  let api: TestApp;
  let user: Scenario;
  const apps: TestApp[] = [];

  beforeAll(async () => {
    api = await startStillApp();
    user = new Scenario(api.url);
  });
  beforeEach(() => api.database.query('delete from runners'));
  afterEach(async () => {
    await Promise.all(apps.splice(0).map((app) => app.close()));
    // What a test leaves waiting is nothing to the next.
    await api.database.query(
      `update heartbeat_runs set status = 'cancelled', finished_at = now() where status = 'queued'`,
    );
  });
  afterAll(() => api.close());

  const list = async (query = '') => (await user.api.get<Runner[]>(`/admin/runners${query}`)).body;
  const states = async () => (await list()).map(({ state }) => state);

  async function startRunner(config = {}): Promise<TestApp> {
    const runner = await startTestApp({
      database: api.database,
      config: { roles: new Set(['runner']), runnerSlots: 3, ...config },
    });
    let closed: Promise<void> | undefined;
    const app = { ...runner, close: () => (closed ??= runner.close()) };
    apps.push(app);
    return app;
  }

  /** A runner that started and was last heard of so long ago. */
  const plant = (id: string, seenAgo: string, columns = '', values = '') =>
    api.database.query(
      `insert into runners (id, host, host_name, pid, slots, version, started_at, last_seen_at ${columns})
       values ($1, 'quay-1', 'quay', 1, 1, '0', now() - interval '40 days', now() - $2::interval ${values})`,
      [id, seenAgo],
    );
  const ID = (last: number) => `01900000-0000-7000-8000-00000000000${last}`;

  it('has a process from its start to its end, and none that only serves the API', async () => {
    expect(await list()).toEqual([]);
    const runner = await startRunner();
    const { id, host, hostName } = runner.get(RunnerIdentity);
    const [seen] = await eventually(list, (runners) => runners.length === 1);
    expect(seen).toEqual({
      id,
      host,
      hostName,
      pid: process.pid,
      slots: 3,
      running: 0,
      state: 'live',
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      startedAt: expect.any(String),
      lastSeenAt: expect.any(String),
      drainingSince: null,
      stoppedAt: null,
    });
    await runner.close();
    const [stopped] = await list();
    expect(stopped).toMatchObject({ id, state: 'stopped', drainingSince: expect.any(String) });
    expect(Date.parse(stopped.stoppedAt!)).toBeGreaterThanOrEqual(Date.parse(stopped.drainingSince!));
  });

  it('counts what a runner holds, and names it as run and lease do', async () => {
    const runner = await startRunner();
    const { id: runnerId, host } = runner.get(RunnerIdentity);
    const { id } = await user.wake(await user.agent(await user.company(), 'sleep 60'));
    await user.reached(id, ['running']);
    expect(await user.run(id)).toMatchObject({ runnerId });
    expect(await user.leases(id)).toMatchObject([{ runnerId, host }]);
    expect(await list()).toMatchObject([{ id: runnerId, host, running: 1 }]);
    await runner.close();
    expect(await list()).toMatchObject([{ id: runnerId, running: 0 }]);
  });

  it('tells one that is lost from one that is late, and forgives it when it is heard of again', async () => {
    await plant(ID(1), '14 s');
    await plant(ID(2), '16 s');
    await plant(ID(3), '16 s', ', draining_since', ', now()');
    await plant(ID(4), '14 s', ', draining_since', ', now()');
    await plant(ID(5), '16 s', ', draining_since, stopped_at', ', now(), now()');
    expect(await states()).toEqual(['stopped', 'draining', 'lost', 'lost', 'live']);
    expect((await list('?state=lost')).map(({ id }) => id)).toEqual([ID(3), ID(2)]);

    await startRunner();
    await eventually(list, (runners) => runners.length === 6);
    await api.database.query(`update runners set last_seen_at = now() - interval '1 hour'`);
    expect((await states())[0]).toBe('lost');
    await eventually(states, ([own]) => own === 'live');
  });

  it('answers in pages, to operators alone', async () => {
    for (const last of [1, 2, 3]) await plant(ID(last), '1 s');
    const { body: first, headers } = await user.api.get<Runner[]>('/admin/runners?limit=2');
    expect(first.map(({ id }) => id)).toEqual([ID(3), ID(2)]);
    const next = /<\/api([^>]+)>/.exec(headers.get('link')!)![1];
    expect((await user.api.get<Runner[]>(next)).body.map(({ id }) => id)).toEqual([ID(1)]);
    expect(await user.api.get('/admin/runners?state=tired')).toMatchObject({ status: 400 });

    const agentId = await user.agent(await user.company(), 'true');
    const { body } = await user.api.post<{ token: string }>(`/agents/${agentId}/keys`, { name: 'key' });
    expect(await user.api.as(body.token).get('/admin/runners')).toMatchObject({ status: 403 });
  });

  it('forgets what was over a month ago, unless a lease still names it', async () => {
    const { id } = await user.wake(await user.agent(await user.company(), 'sleep 60'));
    const holder = await startRunner();
    await user.reached(id, ['running']);
    for (const last of [1, 2]) await plant(ID(last), '31 days');
    await plant(ID(3), '29 days');
    await api.database.query(`update environment_leases set runner_id = $1 where heartbeat_run_id = $2`, [ID(2), id]);
    await startRunner();
    await eventually(list, (runners) => runners.every((runner) => runner.id !== ID(1)));
    expect((await list()).map((runner) => runner.id)).toEqual(expect.arrayContaining([ID(2), ID(3)]));
    await holder.close();
  });

  it('has a runner before that claims anything, however often it has to try', async () => {
    // Counts the tries, and refuses them.
    await api.database.query('create sequence tries');
    await api.database.query(`alter table runners add constraint refuses check (nextval('tries') < 0) not valid`);
    const { id } = await user.wake(await user.agent(await user.company(), 'true'));
    await startRunner();
    await eventually(
      () => api.database.query<{ is_called: boolean }>('select is_called from tries'),
      ([{ is_called: tried }]) => tried,
    );
    expect(await user.run(id)).toMatchObject({ status: 'queued' });
    await api.database.query('alter table runners drop constraint refuses');
    expect(await user.ended(id)).toMatchObject({ status: 'succeeded' });
    expect(
      await api.database.query(
        `select r.started_at <= h.started_at as registered_first from runners r, heartbeat_runs h where h.id = $1`,
        [id],
      ),
    ).toEqual([{ registered_first: true }]);
  });
});
