import { chmod, chown, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { accountFor, canUse } from '../../src/database/embedded/account.js';
import { ServerProcess } from '../support/server-process.js';
import { createTestDatabase } from '../support/test-database.js';

const homes: string[] = [];
const servers: ServerProcess[] = [];

async function newHome(): Promise<string> {
  const home = await mkdtemp(path.join(tmpdir(), 'berth-home-'));
  homes.push(home);
  return home;
}

async function start(environment: NodeJS.ProcessEnv, as?: { uid: number; gid: number }): Promise<ServerProcess> {
  const server = ServerProcess.spawn(environment, as);
  servers.push(server);
  return server.ready();
}

/** What a server that must not start says, once it has ended by itself. */
async function refusal(environment: NodeJS.ProcessEnv): Promise<string> {
  const server = ServerProcess.spawn(environment);
  servers.push(server);
  expect(await server.ended).toBe(1);
  expect(server.output).not.toMatch(/^\s+at /m);
  return server.output;
}

async function postgresPid(home: string): Promise<number | null> {
  const text = await readFile(path.join(home, 'postgres/postmaster.pid'), 'utf8').catch(() => '');
  return Number(text.split('\n')[0]) || null;
}

/** What names this history of the database: the same for as long as the data is kept. */
async function epoch(home: string): Promise<unknown> {
  const client = new Client(`postgres://postgres@localhost/berth?host=${path.join(home, 'postgres')}`);
  await client.connect();
  try {
    return (await client.query<{ epoch: string }>('select epoch from instance')).rows[0]?.epoch;
  } finally {
    await client.end();
  }
}

function exists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await condition())) await sleep(20);
}

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()));
  for (const home of homes.splice(0)) {
    const orphan = await postgresPid(home);
    if (orphan) process.kill(orphan, 'SIGKILL');
    await rm(home, { recursive: true, force: true });
  }
});

describe('with its own PostgreSQL', () => {
  it('starts in an empty directory, and on SIGTERM ends without leaving a PostgreSQL', async () => {
    const home = await newHome();
    const server = await start({ BERTH_HOME: home });
    expect((await fetch(`${server.url}/api/openapi.json`)).status).toBe(200);
    const pid = await postgresPid(home);
    expect(exists(Number(pid))).toBe(true);

    expect(await server.stop()).toBe('SIGTERM');
    expect(exists(Number(pid))).toBe(false);
    expect(await postgresPid(home)).toBeNull();
  });

  it('stops itself before its PostgreSQL when the terminal is interrupted', async () => {
    const home = await newHome();
    const server = ServerProcess.spawn({ BERTH_HOME: home }, { detached: true });
    servers.push(server);
    await server.ready();
    process.kill(-server.pid, 'SIGINT');
    expect(await server.ended).toBe('SIGINT');
    expect(await postgresPid(home)).toBeNull();
    expect(server.output).not.toMatch(/error/i);
  });

  it('keeps its data when everything is killed', async () => {
    const home = await newHome();
    const server = await start({ BERTH_HOME: home });
    const before = await epoch(home);
    const pid = Number(await postgresPid(home));
    await server.kill9();
    process.kill(pid, 'SIGKILL');

    await start({ BERTH_HOME: home });
    expect(await epoch(home)).toBe(before);
    expect(await postgresPid(home)).not.toBe(pid);
  });

  it('adopts the PostgreSQL that a killed server left, and stops it at its own end', async () => {
    const home = await newHome();
    const killed = await start({ BERTH_HOME: home });
    const pid = Number(await postgresPid(home));
    await killed.kill9();

    const server = await start({ BERTH_HOME: home });
    expect(await postgresPid(home)).toBe(pid);
    await server.stop();
    await until(() => !exists(pid));
  });

  it('starts although another program has got the process id of its dead PostgreSQL', async () => {
    const home = await newHome();
    const killed = await start({ BERTH_HOME: home });
    const pid = Number(await postgresPid(home));
    await killed.kill9();
    process.kill(pid, 'SIGKILL');
    await until(() => !exists(pid));
    const file = path.join(home, 'postgres/postmaster.pid');
    await writeFile(file, (await readFile(file, 'utf8')).replace(String(pid), String(process.pid)));

    await start({ BERTH_HOME: home });
    expect(exists(Number(await postgresPid(home)))).toBe(true);
  });

  it('starts its PostgreSQL again when that dies', async () => {
    const home = await newHome();
    await start({ BERTH_HOME: home });
    const before = await epoch(home);
    const pid = Number(await postgresPid(home));
    process.kill(pid, 'SIGKILL');
    await until(async () => ![null, pid].includes(await postgresPid(home)));
    await until(async () => (await epoch(home).catch(() => null)) === before);
  });

  it('begins anew when making the database was cut off', async () => {
    const home = await newHome();
    await mkdir(path.join(home, 'postgres.new'));
    await writeFile(path.join(home, 'postgres.new/PG_VERSION'), '18\n');
    await start({ BERTH_HOME: home });
  });

  it('refuses a database that another major version made', async () => {
    const home = await newHome();
    await mkdir(path.join(home, 'postgres'));
    await writeFile(path.join(home, 'postgres/PG_VERSION'), '17\n');
    expect(await refusal({ BERTH_HOME: home })).toMatch(
      /was made by PostgreSQL 17, and this Berth brings PostgreSQL 18/,
    );
  });

  it('refuses to share its directory, and says what to do', async () => {
    const home = await newHome();
    const first = await start({ BERTH_HOME: home });
    const output = await refusal({ BERTH_HOME: home });
    expect(output).toContain(`Another Berth is running on ${home}. Stop it first, or set BERTH_HOME`);
    expect((await fetch(`${first.url}/api/openapi.json`)).status).toBe(200);
  });

  it('lets one of several first starts win', async () => {
    const home = await newHome();
    const starting = [1, 2, 3].map(() => ServerProcess.spawn({ BERTH_HOME: home }));
    servers.push(...starting);
    const outcomes = await Promise.allSettled(starting.map((server) => server.ready()));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const losers = starting.filter((server) => !server.url);
    for (const { output } of losers) expect(output).toContain('Another Berth is running');
  });

  it('works in a directory whose path is too long for a socket', async () => {
    const home = path.join(await newHome(), 'long-'.repeat(20), 'path-'.repeat(20));
    const server = await start({ BERTH_HOME: home });
    await server.stop();
    expect(await postgresPid(home)).toBeNull();
  });

  it('refuses a directory that cannot be made', async () => {
    const file = path.join(await newHome(), 'file');
    await writeFile(file, '');
    expect(await refusal({ BERTH_HOME: path.join(file, 'home') })).toMatch(/cannot be made .* Set BERTH_HOME/);
  });
});

const account = await accountFor('/none');
const asRoot = account !== null && (await canUse(account, process.execPath)) ? describe : describe.skip;
asRoot('as root', () => {
  it('keeps the database where nobody else may enter', async () => {
    const closed = await newHome();
    await chmod(closed, 0o700);
    const home = path.join(closed, 'project/.berth');
    const server = await start({ BERTH_HOME: home });
    expect((await fetch(`${server.url}/api/openapi.json`)).status).toBe(200);
  });

  it('leaves the same to an ordinary user', async () => {
    if (!account) return;
    const home = await newHome();
    await chown(home, account.uid, account.gid);
    const server = await start({ BERTH_HOME: home, HOME: home }, { uid: account.uid, gid: account.gid });
    expect((await fetch(`${server.url}/api/openapi.json`)).status).toBe(200);
    await server.stop();
    expect(await postgresPid(home)).toBeNull();

    const asRootOnTheSame = await start({ BERTH_HOME: home });
    await asRootOnTheSame.stop();
  });
});

describe('with an existing PostgreSQL', () => {
  it('migrates once when two servers start at the same moment', async () => {
    const database = await createTestDatabase(null);
    const environment = { BERTH_DATABASE_URL: database.url };
    const both = await Promise.all([start(environment), start(environment)]);
    expect(await database.query('select name from mikro_orm_migrations')).toEqual([{ name: '0001_ground_floor' }]);
    await Promise.all(both.map((server) => server.stop()));
    await database.close();
  });

  it('says what is wrong with a database that it cannot use', async () => {
    const url = 'postgres://someone:secret@127.0.0.1:1/berth';
    const output = await refusal({ BERTH_DATABASE_URL: url });
    expect(output).toContain('The database "berth" at 127.0.0.1, port 1 cannot be used: nothing listens there.');
    expect(output).not.toContain('secret');
  });
});

describe('settings', () => {
  it('refuses a busy port, and leaves no PostgreSQL', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    const home = await newHome();
    const output = await refusal({ BERTH_HOME: home, BERTH_PORT: String(port) });
    expect(output).toContain(`Port ${port} of 127.0.0.1 is in use by another program.`);
    expect(await postgresPid(home)).toBeNull();
    other.close();
  });

  it('names every wrong one at once', async () => {
    const output = await refusal({
      BERTH_PORT: 'http',
      BERTH_ROLES: 'api,cook',
      BERTH_LEASE_TTL_SEC: '1',
      BERTH_PROT: '1',
    });
    for (const name of ['BERTH_PORT', 'BERTH_ROLES', 'BERTH_LEASE_TTL_SEC', 'BERTH_PROT'])
      expect(output).toContain(name);
  });
});
