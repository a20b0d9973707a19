import { ProcessAdapter } from '../../src/heartbeat/adapters/process-adapter.js';
import { adapterContext, adapterContract, problemsOf } from './adapter.contract.js';

const adapter = new ProcessAdapter();

adapterContract(ProcessAdapter.name, () => ({
  adapter,
  succeeds: { command: 'sh', args: ['-c', 'echo done'] },
  fails: { config: { command: 'sh', args: ['-c', 'exit 3'] }, errorCode: 'adapter_failed' },
  lasts: { command: 'sleep', args: ['600'] },
  refused: [
    { config: { command: '' }, field: 'command' },
    { config: { args: 'a b' }, field: 'args' },
    { config: { cwd: 7 }, field: 'cwd' },
    { config: { cwd: '' }, field: 'cwd' },
    { config: { cwd: '../elsewhere' }, field: 'cwd' },
    { config: { cwd: '/srv/../etc' }, field: 'cwd' },
    { config: { cwd: '/srv/a\0b' }, field: 'cwd' },
    { config: { env: ['A=1'] }, field: 'env' },
    { config: { timeoutSec: 0 }, field: 'timeoutSec' },
    { config: { graceSec: 301 }, field: 'graceSec' },
  ],
}));

describe(ProcessAdapter.name, () => {
  const execute = (config: Record<string, unknown>) => adapter.execute(adapterContext(config).context);

  it.each(['.', './web', 'packages/web', '/srv/web'])('can be told to start in %s', (cwd) => {
    expect(() => adapter.validateConfig({ command: 'true', cwd })).not.toThrow();
  });

  it('keeps the exit code', async () => {
    expect(await execute({ command: 'sh', args: ['-c', 'exit 3'] })).toMatchObject({
      exitCode: 3,
      signal: null,
      error: 'Exited with code 3',
      resultJson: { exitCode: 3, signal: null },
    });
  });

  it('keeps the signal', async () => {
    expect(await execute({ command: 'sh', args: ['-c', 'kill -9 $$'] })).toMatchObject({
      outcome: 'failed',
      exitCode: null,
      signal: 'SIGKILL',
      error: 'Ended by signal SIGKILL',
    });
  });

  it('takes its limits from the config, with finite defaults', () => {
    expect(adapter.limits({})).toEqual({ timeoutSec: 7200, idleTimeoutSec: 1800 });
    expect(adapter.limits({ timeoutSec: 5, idleTimeoutSec: 0 })).toEqual({ timeoutSec: 5, idleTimeoutSec: null });
  });

  it('keeps what the program reports of itself on its last line', async () => {
    const report = JSON.stringify({ type: 'result', result: 'The anchor holds.' });
    expect(await execute({ command: 'sh', args: ['-c', `echo working; echo '${report}'`] })).toMatchObject({
      outcome: 'succeeded',
      resultJson: { result: 'The anchor holds.', exitCode: 0 },
    });
  });

  it('fails for a reason that will pass when the program says so', async () => {
    const inAnHour = new Date(Date.now() + 3_600_000).toISOString();
    const report = JSON.stringify({
      type: 'result',
      error_code: 'transient_upstream',
      retry_not_before: inAnHour,
    });
    expect(await execute({ command: 'sh', args: ['-c', `echo '${report}'; exit 1`] })).toMatchObject({
      outcome: 'failed',
      errorCode: 'transient_upstream',
      retryNotBefore: inAnHour,
    });
  });

  it('fails with what is missing when the program cannot be started', async () => {
    expect(await execute({ command: 'no-such-program-anywhere' })).toMatchObject({
      outcome: 'failed',
      errorCode: 'command_not_started',
      error: expect.stringContaining('no-such-program-anywhere'),
    });
  });

  it('gives the program the environment that it was given', async () => {
    const { context, logged } = adapterContext({ command: 'sh', args: ['-c', 'echo "$PAPERCLIP_RUN_ID"'] });
    await adapter.execute(context);
    expect(logged.join('')).toBe('run-1\n');
  });

  it.each([
    [{ A: 'x', B: { type: 'plain', value: 'y' } }, []],
    [{ A: { secretRef: 'k' }, B: { type: 'secret_ref', secretId: 'k' } }, []],
    [{ A: { type: 'plain', value: 1 }, B: { value: 'x' } }, ['A', 'B']],
    [{ A: 1, '2B': 'x', 'C D': 'x', E: 'a\0b' }, ['A', '2B', 'C D', 'E']],
  ])('checks each variable of %j', (env, names) => {
    expect(problemsOf(() => adapter.validateConfig({ command: 'x', env }))).toEqual(
      names.map((name) => `adapterConfig.env.${name}`),
    );
  });
});
