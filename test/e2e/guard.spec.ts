import { jest } from '@jest/globals';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Predecessors } from '../../src/environments/drivers/guard/predecessors.js';
import { journalsIn, parseJournal } from '../../src/environments/drivers/guard/runner-journal.js';
import { ExecutionServer } from '../../src/heartbeat/execution/execution.server.js';
import { isGroupRunning } from '../contracts/process-groups.js';
import { eventually } from '../support/eventually.js';
import { isAlive } from '../support/hand-runner.js';
import { Tally } from '../support/proxied-app.js';
import { Scenario } from '../support/scenario.js';
import { ServerProcess } from '../support/server-process.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

const LEASE_TTL_SEC = 2;
/** A process, its child and its grandchild; nothing but their end ends them. */
const TREE = `trap '' TERM INT HUP; sh -c 'sleep 600 & sleep 600' & echo begun; sleep 600`;

describe('what a runner has started', () => {
  let api: TestApp;
  let user: Scenario;
  let companyId: string;
  let home: string;
  let runner: ServerProcess;
  let tally: Tally;
  const groups: number[] = [];

  beforeAll(async () => {
    api = await startTestApp({ config: { roles: new Set(['api']) } });
    user = new Scenario(api.url);
  });
  beforeEach(async () => {
    companyId = await user.company();
    tally = await Tally.create();
    home = await mkdtemp(join(tmpdir(), 'berth-home-'));
    runner = await startRunner();
  });
  afterEach(async () => {
    await runner.kill9();
    for (const group of groups.splice(0)) if (isGroupRunning(group)) process.kill(-group, 'SIGKILL');
    await tally.remove();
    await rm(home, { recursive: true, force: true });
  });
  afterAll(() => api.close());

  const startRunner = () =>
    ServerProcess.spawn(
      {
        BERTH_HOME: home,
        BERTH_DATABASE_URL: api.database.url,
        BERTH_ROLES: 'runner',
        BERTH_PUBLIC_URL: api.url,
        BERTH_LEASE_TTL_SEC: String(LEASE_TTL_SEC),
      },
      // A group of its own, as at a terminal.
      { detached: true },
    ).ready();

  /** A run whose processes are up; those of its retry end by themselves. */
  async function startRun(): Promise<{ id: string; groupId: number }> {
    const { id } = await user.wake(await user.agent(companyId, `${tally.add}; ${tally.isFirst} || exit 0; ${TREE}`));
    await eventually(
      () => user.log(id),
      (log) => log === 'begun\n',
    );
    const query = `select process_group_id as "groupId" from heartbeat_runs where id = $1`;
    const [{ groupId }] = await eventually(
      () => api.database.query<{ groupId: number }>(query, [id]),
      ([run]) => run.groupId !== null,
    );
    groups.push(groupId);
    return { id, groupId };
  }

  const gone = (groupId: number, withinMs: number) =>
    eventually(
      async () => isGroupRunning(groupId),
      (running) => !running,
      withinMs,
    );

  const journals = async () => {
    const names = (await readdir(journalsIn(home)).catch(() => [])).filter((name) => name.endsWith('.json'));
    const texts = await Promise.all(names.map((name) => readFile(join(journalsIn(home), name), 'utf8')));
    return texts.map(parseJournal);
  };

  async function expectLost(runId: string): Promise<void> {
    expect(await user.ended(runId)).toMatchObject({ status: 'failed', errorCode: 'process_lost' });
    expect(await user.leases(runId)).toMatchObject([{ status: 'expired' }]);
  }

  it('has ended by the deadline of its lease when the runner is frozen', async () => {
    const { id, groupId } = await startRun();
    // As Ctrl-Z does it, to all of the runner's group.
    process.kill(-runner.pid, 'SIGSTOP');
    const [{ expiresAt }] = await user.leases(id);
    expect(isGroupRunning(groupId)).toBe(true);
    await gone(groupId, 2 * LEASE_TTL_SEC * 1000);
    // The database gives it to nobody else before that; what is added is how long this test takes to see it.
    expect(Date.now()).toBeLessThan(Date.parse(expiresAt) + 1000);
    await expectLost(id);
  });

  it('has ended at once when the runner is killed, also by a guard that replaced another', async () => {
    const [{ guardPid }] = await eventually(journals, (found) => found.length === 1);
    process.kill(guardPid, 'SIGKILL');
    await eventually(journals, ([now]) => now !== undefined && now.guardPid !== guardPid);
    const { id, groupId } = await startRun();
    await runner.kill9();
    await gone(groupId, (LEASE_TTL_SEC * 1000) / 3);
    await expectLost(id);
    await eventually(journals, (left) => left.length === 0);
  });

  it('ends and is tried again when the guard is killed, which nobody blames on the agent', async () => {
    const { id, groupId } = await startRun();
    const [{ guardPid }] = await journals();
    process.kill(guardPid, 'SIGKILL');
    expect(await user.ended(id)).toMatchObject({
      status: 'failed',
      errorCode: 'process_lost',
      error: expect.stringContaining('guard'),
      exitCode: null,
    });
    expect(isGroupRunning(groupId)).toBe(false);
    await eventually(
      () => api.database.query('select status from heartbeat_runs where retry_of_run_id = $1', [id]),
      ([retry]) => retry?.status === 'succeeded',
    );
  });

  it('is ended by the next runner, before that takes work, when runner and guard are killed', async () => {
    const { groupId } = await startRun();
    const [{ guardPid }] = await journals();
    process.kill(runner.pid, 'SIGSTOP');
    process.kill(guardPid, 'SIGKILL');
    await runner.kill9();
    expect(isGroupRunning(groupId)).toBe(true);

    const count = `cat /proc/[0-9]*/stat 2>/dev/null | awk '$5 == ${groupId} && $3 != "Z"' | wc -l`;
    const { id } = await user.wake(await user.agent(companyId, count));
    runner = await startRunner();
    expect(await user.ended(id)).toMatchObject({ status: 'succeeded' });
    expect((await user.log(id)).trim()).toBe('0');
    expect(await journals()).toHaveLength(1);
  });

  it('leaves nothing when all ends in order', async () => {
    const { id } = await user.wake(await user.agent(companyId, 'true'));
    await user.ended(id);
    const [{ guardPid }] = await journals();
    expect(isAlive(guardPid)).toBe(true);
    await runner.stop();
    expect(isAlive(guardPid)).toBe(false);
    expect(await readdir(journalsIn(home))).toEqual([]);
    // Whoever executes nothing needs no guard.
    expect(existsSync(journalsIn(api.config.home))).toBe(false);
  });
});

describe('a runner that starts', () => {
  afterEach(() => void jest.restoreAllMocks());

  it('takes no work before its predecessors have been dealt with', async () => {
    const dealtWith = Promise.withResolvers<void>();
    jest.spyOn(Predecessors.prototype, 'endWhatTheyLeft').mockReturnValue(dealtWith.promise);
    const dispatch = jest.spyOn(ExecutionServer.prototype, 'dispatch');
    const app = await startTestApp();
    await eventually(
      () => app.database.query('select from runners'),
      (runners) => runners.length === 1,
    );
    expect(dispatch).not.toHaveBeenCalled();
    dealtWith.resolve();
    const user = new Scenario(app.url);
    const { id } = await user.wake(await user.agent(await user.company(), 'true'));
    expect(await user.ended(id)).toMatchObject({ status: 'succeeded' });
    await app.close();
  });
});
