import { eventually } from '../support/eventually.js';
import type { Run } from '../support/scenario.js';
import { Harbour } from './harbour.js';

describe('heartbeat run', () => {
  let harbour: Harbour;

  beforeAll(async () => void (harbour = await Harbour.open()));
  afterAll(() => harbour.close());

  const agent = (script: string, fields: { adapterConfig?: object; runtimeConfig?: object } = {}) =>
    harbour.user.agent(harbour.company, script, fields);
  const liveRuns = (agentId: string) =>
    eventually(
      async () => {
        const { body } = await harbour.user.api.get<Run[]>(`/companies/${harbour.company}/live-runs`);
        return body.filter((run) => run.agentId === agentId);
      },
      (runs) => runs.length > 0,
    );

  // The client polls, and stops polling at a terminal status: what it shows was written a round before the end.
  it('streams the log of a run that lasts a few seconds, to succeeded', async () => {
    const agentId = await agent(
      'for n in 1 2 3; do echo out $n; echo err $n >&2; sleep 0.8; done; printf last; sleep 1',
    );
    const { exitCode, stdout, stderr } = await harbour.client.run(`heartbeat run --agent-id ${agentId}`);
    expect(stderr).toBe('');
    expect(exitCode).toBe(0);
    const lines = stdout.split('\n');
    expect(lines[0]).toMatch(/^Invoked heartbeat run \S+ for agent deckhand/);
    expect(lines.filter((line) => /^(out|last)/.test(line))).toEqual(['out 1', 'out 2', 'out 3', 'last']);
    expect(lines.filter((line) => line.startsWith('[stderr]'))).toEqual([1, 2, 3].map((n) => `[stderr] err ${n}`));
    for (const line of ['[status] queued', '[status] running', 'Adapter: process', 'Status: succeeded'])
      expect(lines).toContain(line);
    expect(stdout).toMatch(/^Working dir: \/.+$/m);
    expect(stdout).toMatch(/completed with status succeeded\n$/);
  });

  it('does not print the secrets of the agent', async () => {
    const agentId = await agent('sleep 0.6', { adapterConfig: { env: { DOCK_TOKEN: 'swordfish' } } });
    const { exitCode, stdout } = await harbour.client.run(`heartbeat run --agent-id ${agentId} --debug`);
    expect(exitCode).toBe(0);
    expect(stdout).not.toContain('swordfish');
  });

  it('shows all of a log of many pages', async () => {
    const agentId = await agent('seq 1 20000; sleep 5');
    const { exitCode, stdout } = await harbour.client.run(`heartbeat run --agent-id ${agentId}`);
    expect(exitCode).toBe(0);
    const numbers = stdout.split('\n').filter((line) => /^\d+$/.test(line));
    expect(numbers).toEqual(Array.from({ length: 20_000 }, (_, index) => String(index + 1)));
  });

  it('ends with 1 and the reason when the run fails', async () => {
    const agentId = await agent('echo before; sleep 0.6; exit 3');
    const { exitCode, stdout } = await harbour.client.run(`heartbeat run --agent-id ${agentId}`);
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/^before$/m);
    expect(stdout).toMatch(/completed with status failed\n.*Exited with code 3/s);
  });

  it('ends with 1 and the reason when the run times out', async () => {
    const agentId = await agent('sleep 30', { adapterConfig: { timeoutSec: 1 } });
    const { exitCode, stdout } = await harbour.client.run(`heartbeat run --agent-id ${agentId}`);
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/completed with status timed_out\n.*Timed out after 1 seconds/s);
  });

  it('ends with 1 when the run is cancelled meanwhile', async () => {
    const agentId = await agent('echo waiting; sleep 30');
    const watched = harbour.client.run(`heartbeat run --agent-id ${agentId}`);
    const [run] = await liveRuns(agentId);
    await harbour.user.reached(run.id, ['running']);
    await harbour.client.json(`run cancel ${run.id}`);
    const { exitCode, stdout } = await watched;
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/completed with status cancelled/);
  });

  it('stops watching at its own time-out, which leaves the run alone', async () => {
    const agentId = await agent('sleep 4');
    const { exitCode, stdout } = await harbour.client.run(`heartbeat run --agent-id ${agentId} --timeout-ms 1500`);
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/CLI timed out after 1500ms/);
    const [run] = await liveRuns(agentId);
    expect(await harbour.user.ended(run.id)).toMatchObject({ status: 'succeeded' });
  });

  it('shows one run to two who wake a busy agent', async () => {
    const runtimeConfig = { heartbeat: { maxConcurrentRuns: 1 } };
    const script = '[ "$PAPERCLIP_WAKE_REASON" = first ] && exec sleep 8; echo here; sleep 1';
    const agentId = await agent(script, { runtimeConfig });
    await harbour.user.reached((await harbour.user.wake(agentId, { reason: 'first' })).id, ['running']);
    const watch = () => harbour.client.run(`heartbeat run --agent-id ${agentId}`);
    const both = await Promise.all([watch(), watch()]);
    for (const { exitCode, stdout } of both) {
      expect(exitCode).toBe(0);
      expect(stdout).toMatch(/^here$/m);
    }
    const [one, other] = both.map(({ stdout }) => /heartbeat run (\S+)/.exec(stdout)?.[1]);
    expect(one).toBe(other);
  });

  it('says that a wake was skipped', async () => {
    const agentId = await agent('true');
    const command = `heartbeat run --agent-id ${agentId} --source timer --trigger system`;
    const { exitCode, stdout } = await harbour.client.run(command);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/Heartbeat invocation was skipped/);
  });

  it.each([
    ['paused', 'pause', /The agent is paused/],
    ['terminated', 'terminate', /The agent is terminated/],
  ])('says why a %s agent does not run', async (_status, verb, reason) => {
    const agentId = await agent('true');
    await harbour.client.json(`agent ${verb} ${agentId}`);
    const { exitCode, stdout, stderr } = await harbour.client.run(`heartbeat run --agent-id ${agentId}`);
    expect(exitCode).toBe(1);
    expect(stdout + stderr).toMatch(reason);
  });

  it('says that there is no such agent', async () => {
    const { exitCode, stdout, stderr } = await harbour.client.run(
      'heartbeat run --agent-id 01900000-0000-7000-8000-000000000000',
    );
    expect(exitCode).toBe(1);
    expect(stdout + stderr).toMatch(/Agent not found/);
  });

  it('lets an agent wake and watch itself, and nobody else', async () => {
    const [own, other] = [await agent('echo mine; sleep 1'), await agent('true')];
    const asAgent = harbour.client.as(await harbour.keyOf(own));
    const watched = await asAgent.run(`heartbeat run --agent-id ${own}`);
    expect(watched.exitCode).toBe(0);
    expect(watched.stdout).toMatch(/^mine$/m);
    const refused = await asAgent.run(`heartbeat run --agent-id ${other}`);
    expect(refused.exitCode).toBe(1);
    expect(refused.stdout + refused.stderr).toMatch(/An agent may wake only itself/);
  });
});
