import { execFile } from 'node:child_process';
import { access, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { Scenario } from '../support/scenario.js';
import { PROJECT, startServerProcess, type ServerProcess } from '../support/server-process.js';

/** `npm run verify` in a home: its exit code, and what it printed. */
const verify = (home: string) =>
  new Promise<{ code: unknown; output: string }>((resolve) => {
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('BERTH_'));
    const env = { ...Object.fromEntries(inherited), BERTH_HOME: home };
    execFile(process.execPath, [path.join(PROJECT, 'dist/verify.js')], { env }, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, output: stdout + stderr }),
    );
  });

describe('npm run verify', () => {
  let server: ServerProcess;
  let companyId: string;

  beforeAll(async () => {
    server = await startServerProcess();
    const user = new Scenario(server.url);
    companyId = await user.company();
    await user.ended((await user.wake(await user.agent(companyId, 'true'))).id);
  });
  afterAll(async () => {
    await server.stop();
    await rm(server.home, { recursive: true, force: true });
  });

  it('says what it checked, beside a server that runs', async () => {
    const { code, output } = await verify(server.home);
    expect(output).toMatch(/^heartbeat_runs_as_recorded: 1 checked, ok$/m);
    expect(output).toMatch(/^The record and the state agree in all \d+ checks\.$/m);
    expect(code).toBe(0);
  });

  it('names what diverges, and ends with 1', async () => {
    const client = new Client(`postgres://postgres@localhost/berth?host=${path.join(server.home, 'postgres')}`);
    await client.connect();
    await client.query(`update companies set status = 'archived', archived_at = now()`);
    await client.end();
    const { code, output } = await verify(server.home);
    expect(output).toContain(`- Company ${companyId} is archived, and active by the last entry about it`);
    expect(output).toMatch(/^The record and the state disagree in 1 of \d+ checks\.$/m);
    expect(code).toBe(1);
  });

  it('starts the database of a server that is stopped, and stops it again', async () => {
    await server.stop();
    const { code, output } = await verify(server.home);
    expect(output).toContain(`Company ${companyId}`);
    expect(code).toBe(1);
    await expect(access(path.join(server.home, 'postgres/postmaster.pid'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('makes no database where there is none', async () => {
    const home = await mkdtemp(path.join(tmpdir(), 'berth-home-'));
    const { code, output } = await verify(home);
    expect(output).toContain(`There is no database in ${home}`);
    expect(code).toBe(2);
    expect(await readdir(home)).toEqual([]);
    await rm(home, { recursive: true });
  });
});
