import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ApiClient } from '../support/api-client.js';
import { Scenario } from '../support/scenario.js';
import { ServerProcess } from '../support/server-process.js';
import { createTestDatabase } from '../support/test-database.js';

const FIRST_KEY = /^The first operator key, shown this once and kept nowhere: (berth_operator_\S+)$/gm;

describe('an authenticated server', () => {
  const servers: ServerProcess[] = [];
  const spawn = (environment: NodeJS.ProcessEnv) => {
    const server = ServerProcess.spawn({ BERTH_AUTH: 'authenticated', ...environment });
    servers.push(server);
    return server;
  };
  const firstKeys = (server: ServerProcess) => [...server.output.matchAll(FIRST_KEY)].map(([, key]) => key);

  afterEach(async () => {
    await Promise.all(servers.map((server) => server.stop()));
    await Promise.all(servers.splice(0).map(({ home }) => rm(home, { recursive: true, force: true })));
  });

  it('prints its first key once, and runs agents that act by the tokens of their runs', async () => {
    const home = await mkdtemp(path.join(tmpdir(), 'berth-home-'));
    const server = await spawn({ BERTH_HOME: home }).ready();
    const [key, ...others] = firstKeys(server);
    expect(others).toEqual([]);
    expect(server.output).toContain('Every request needs a key');
    expect(await new ApiClient(server.url).get('/companies')).toMatchObject({ status: 401 });

    const user = new Scenario(server.url, key);
    const ask = `fetch(process.env.PAPERCLIP_API_URL + '/api/cli-auth/me', { headers: { authorization: 'Bearer ' +
      process.env.PAPERCLIP_API_KEY } }).then((answer) => answer.json()).then((me) => console.log(me.source, me.runId))`;
    const agentId = await user.agent(await user.company(), `"${process.execPath}" -e "${ask}"`);
    const { id } = await user.wake(agentId);
    expect(await user.ended(id)).toMatchObject({ status: 'succeeded' });
    expect(await user.log(id)).toBe(`run_token ${id}\n`);

    await server.stop();
    const again = await spawn({ BERTH_HOME: home }).ready();
    expect(firstKeys(again)).toEqual([]);
    expect(await new Scenario(again.url, key).run(id)).toMatchObject({ id });
    // Nothing of the key, nor anything else that is secret, is for other accounts of this machine.
    expect((await stat(path.join(home, 'postgres'))).mode & 0o077).toBe(0);
  });

  it('prints one key, however many of them start at once on one database', async () => {
    const database = await createTestDatabase();
    try {
      const started = [1, 2, 3].map(() => spawn({ BERTH_DATABASE_URL: database.url }));
      await Promise.all(started.map((server) => server.ready()));
      const printed = started.flatMap(firstKeys);
      expect(printed).toHaveLength(1);
      for (const { url } of started) {
        expect((await new ApiClient(url).as(printed[0]).get('/admin/runners')).status).toBe(200);
      }
    } finally {
      await Promise.all(servers.map((server) => server.stop()));
      await database.close();
    }
  });

  it('says nothing of a key that it was given', async () => {
    const given = 'Zx8-what+an/operator=made~up_itself!';
    const server = await spawn({ BERTH_BOOTSTRAP_KEY: given, BERTH_LOG_LEVEL: 'trace' }).ready();
    expect((await new ApiClient(server.url).as(given).get('/cli-auth/me')).status).toBe(200);
    await server.stop();
    expect(server.output).not.toContain(given);
    expect(firstKeys(server)).toEqual([]);
  });

  it('does not start with a key that anybody could guess, and does not repeat it', async () => {
    const server = spawn({ BERTH_BOOTSTRAP_KEY: 'correct horse battery staple' });
    expect(await server.ended).toBe(1);
    expect(server.output).toContain('BERTH_BOOTSTRAP_KEY must be 32 to 512');
    expect(server.output).not.toContain('correct horse');
  });
});
