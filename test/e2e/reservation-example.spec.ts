import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { isGroupRunning } from '../contracts/process-groups.js';
import { eventually } from '../support/eventually.js';
import { Callers } from '../support/reservations.js';
import { Scenario } from '../support/scenario.js';
import { PROJECT } from '../support/server-process.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

const TTL_SEC = 2;

/** What a user copies: it has to do what its README says. */
describe('examples/reservation', () => {
  let app: TestApp;
  let user: Scenario;
  let companyId: string;
  let callers: Callers;
  let folder: string;

  beforeAll(async () => {
    app = await startTestApp();
    user = new Scenario(app.url);
  });
  afterAll(() => app.close());
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'berth-example-'));
    companyId = await user.company();
    const environment = { name: 'build box', driver: 'local', capacity: 1 };
    const { body } = await user.api.post<{ id: string }>(`/companies/${companyId}/environments`, environment);
    callers = new Callers(app, user.api, companyId, body.id);
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  /** The example holds a place while it runs a line of shell. */
  const reserve = (script: string, ...options: string[]) => {
    const where = ['--url', app.url, '--company', companyId, '--environment', callers.environmentId];
    const how = ['--holder', 'example', '--ttl', String(TTL_SEC), ...options, '--', 'sh', '-c', script];
    const program = path.join(PROJECT, 'examples/reservation/reserve.mjs');
    const child = spawn(process.execPath, [program, ...where, ...how], { cwd: folder });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (output += text));
    const ended = once(child, 'close').then(([code]) => ({ code: code as number, output }));
    return { child, ended };
  };
  const written = (name: string) =>
    eventually(
      () => readFile(path.join(folder, name), 'utf8').catch(() => ''),
      (text) => text.endsWith('\n'),
    );
  const gone = (groupId: number) =>
    eventually(
      async () => isGroupRunning(groupId),
      (running) => !running,
    );
  const leases = () =>
    app.database.query<{ id: string; status: string; fencing_token: string }>(
      `select id, status, fencing_token from environment_leases where environment_id = $1 order by id`,
      [callers.environmentId],
    );

  it('does its work while it holds the place, and releases it', async () => {
    const { ended } = reserve('sleep 3; echo "$BERTH_FENCING_TOKEN"; exit 3');
    const { code, output } = await ended;
    expect([code, output]).toEqual([3, output]);
    const [lease, ...others] = await leases();
    expect([lease.status, others]).toEqual(['released', []]);
    expect(output).toContain(`\n${lease.fencing_token}\n`);
  });

  it('waits for its turn', async () => {
    const lease = await callers.acquire();
    const { ended } = reserve('true');
    await callers.waiting(({ length }) => length === 1);
    await callers.release(lease);
    expect(await ended).toMatchObject({ code: 0 });
    expect(await callers.mostAtOnce()).toBe(1);
  });

  it('says who has the place when it gets none', async () => {
    await callers.acquire({ holder: 'somebody else' });
    const { code, output } = await reserve('touch worked', '--wait', '0').ended;
    expect([code, output]).toEqual([75, expect.stringContaining('held by "somebody else"')]);
    await expect(readFile(path.join(folder, 'worked'))).rejects.toThrow();
  });

  it('ends its work, with all that this started, when the lease is taken away', async () => {
    const { ended } = reserve('sleep 60 & echo "$$" > group; wait');
    const groupId = Number(await written('group'));
    const [lease] = await leases();
    await user.api.post('/admin/leases/revoke', { leaseId: lease.id });
    expect(await ended).toMatchObject({ code: 76, output: expect.stringContaining('The lease is lost') });
    await gone(groupId);
  });

  it('ends its work by itself when the server cannot be reached', async () => {
    const own = await startTestApp({ database: app.database });
    const { ended } = reserve('echo "$$" > group; sleep 60', '--url', own.url);
    const groupId = Number(await written('group'));
    await own.close();
    expect(await ended).toMatchObject({ code: 76 });
    await gone(groupId);
  });
});
