import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { Scenario } from '../support/scenario.js';
import { PROJECT, startServerProcess, type ServerProcess } from '../support/server-process.js';

/** `npm run rotate-secrets-key` with the settings of a server: its exit code, and what it printed. */
const rotate = (environment: NodeJS.ProcessEnv) =>
  new Promise<{ code: unknown; output: string }>((resolve) => {
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('BERTH_'));
    const env = { ...Object.fromEntries(inherited), ...environment };
    execFile(process.execPath, [path.join(PROJECT, 'dist/rotate-secrets-key.js')], { env }, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, output: stdout + stderr }),
    );
  });

describe('npm run rotate-secrets-key', () => {
  let server: ServerProcess;

  beforeAll(async () => {
    server = await startServerProcess();
  });
  afterAll(async () => {
    await server.stop();
    await rm(server.home, { recursive: true, force: true });
  });

  it('has nothing to do where no secret was ever kept', async () => {
    const { code, output } = await rotate({ BERTH_HOME: server.home });
    expect(output).toBe('No secret was ever kept here, so no key is in use.\n');
    expect(code).toBe(0);
  });

  it('encrypts everything anew beside a server, which goes on', async () => {
    const user = new Scenario(server.url);
    const companyId = await user.company();
    await user.api.post(`/companies/${companyId}/secrets`, { name: 'token', value: 'heave-ho' });
    const { code, output } = await rotate({ BERTH_HOME: server.home });
    expect(output).toMatch(/^The key [0-9a-f]{16} is in use; 1 values were encrypted anew with it\.$/m);
    expect(code).toBe(0);
    const env = { TOKEN: { secretRef: 'token' } };
    const agentId = await user.agent(companyId, 'echo "$TOKEN" | tr a-z A-Z', { adapterConfig: { env } });
    const { id } = await user.wake(agentId);
    await user.ended(id);
    expect(await user.log(id)).toBe('HEAVE-HO\n');
    expect((await user.api.post(`/companies/${companyId}/secrets`, { name: 'b', value: 'heave-ho' })).status).toBe(201);
  });

  it('changes nothing where it has not the key in use', async () => {
    const { code, output } = await rotate({ BERTH_HOME: server.home, BERTH_SECRETS_KEY: 'ab'.repeat(32) });
    expect(output).toMatch(/^The secrets in this database are encrypted with the key/);
    expect(code).toBe(1);
  });
});
