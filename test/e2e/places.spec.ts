import { access, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Berths } from '../support/places.js';
import { ServerProcess } from '../support/server-process.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

describe('a place whose runner is killed', () => {
  let database: TestDatabase;
  const homes: string[] = [];
  const servers: ServerProcess[] = [];

  beforeEach(async () => {
    database = await createTestDatabase();
  });
  afterEach(async () => {
    await Promise.all(servers.map((server) => server.stop()));
    await Promise.all(homes.map((home) => rm(home, { recursive: true, force: true })));
    await database.close();
  });

  async function newHome(): Promise<string> {
    const home = await mkdtemp(path.join(tmpdir(), 'berth-home-'));
    homes.push(home);
    return home;
  }

  function start(home: string, roles: string): Promise<ServerProcess> {
    const server = ServerProcess.spawn({
      BERTH_HOME: home,
      BERTH_DATABASE_URL: database.url,
      BERTH_ROLES: roles,
      BERTH_LEASE_TTL_SEC: '2',
    });
    servers.push(server);
    return server.ready();
  }

  it('is taken down by the next process on its host, and by none on another', async () => {
    const home = await newHome();
    const [elsewhere, killed] = await Promise.all([start(await newHome(), 'api'), start(home, 'api,runner')]);
    const at = await Berths.in(elsewhere.url, { capacity: 1 });
    const { id } = await at.user.wake(await at.agent('touch evidence; sleep 600'));
    const place = await at.reached(id, 'in_use');
    // So that the retry leaves the successor alone.
    await at.user.api.post(`/environments/${at.environmentId}/drain`);
    await killed.kill9();
    const left = await at.reached(id, 'cleaning');
    expect(left).toMatchObject({ id: place.id, attempts: 0, host: expect.any(String) });
    await access(place.facts.directory);

    await start(home, 'api,runner');
    expect(await at.reached(id, 'gone')).toMatchObject({ id: place.id, host: left.host, attempts: 1 });
    await expect(access(place.facts.directory)).rejects.toThrow('ENOENT');
    await at.remove();
  });
});
