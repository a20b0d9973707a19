import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
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

/** @param mode who else may enter it. */
async function newHome(mode = 0o755): Promise<string> {
  const home = await mkdtemp(path.join(tmpdir(), 'berth-home-'));
  await chmod(home, mode);
  homes.push(home);
  return home;
}

function spawn(environment: NodeJS.ProcessEnv, as?: { uid: number; gid: number }): ServerProcess {
  const server = ServerProcess.spawn(environment, { ...as, detached: true });
  servers.push(server);
  return server;
}

const start = (...arguments_: Parameters<typeof spawn>) => spawn(...arguments_).ready();

/** What a server that must not start says, once it has ended by itself. */
async function refusal(environment: NodeJS.ProcessEnv): Promise<string> {
  const server = spawn(environment);
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

const answers = async ({ url }: ServerProcess) => (await fetch(`${url}/api/health`)).status;

afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()));
  for (const home of homes) {
    const orphan = await postgresPid(home);
    if (orphan) process.kill(orphan, 'SIGKILL');
    await rm(home, { recursive: true, force: true });
  }
});

describe('with its own PostgreSQL', () => {
  let home: string;
  let server: ServerProcess;

  beforeAll(async () => {
    home = await newHome();
  });
  /** Each test finds a server that runs on the same directory. */
  beforeEach(async () => {
    if (!server || server.hasEnded) server = await start({ BERTH_HOME: home });
  });

  async function killEverything(): Promise<number> {
    const pid = Number(await postgresPid(home));
    await server.kill9();
    process.kill(pid, 'SIGKILL');
    return pid;
  }

  it('starts in an empty directory, and on SIGTERM ends without leaving a PostgreSQL', async () => {
    expect(await answers(server)).toBe(200);
    const pid = Number(await postgresPid(home));
    expect(exists(pid)).toBe(true);

    expect(await server.stop()).toBe('SIGTERM');
    expect(exists(pid)).toBe(false);
    expect(await postgresPid(home)).toBeNull();
  });

  it('refuses to share its directory, and says what to do', async () => {
    const output = await refusal({ BERTH_HOME: home });
    expect(output).toContain(`Another Berth is running on ${home}. Stop it first, or set BERTH_HOME`);
    expect(await answers(server)).toBe(200);
  });

  it('starts its PostgreSQL again when that dies', async () => {
    const before = await epoch(home);
    const pid = Number(await postgresPid(home));
    process.kill(pid, 'SIGKILL');
    await until(async () => ![null, pid].includes(await postgresPid(home)));
    await until(async () => (await epoch(home).catch(() => null)) === before);
    await until(async () => (await answers(server)) === 200);
  });

  it('adopts the PostgreSQL that a killed server left, and stops it at its own end', async () => {
    const pid = Number(await postgresPid(home));
    await server.kill9();

    server = await start({ BERTH_HOME: home });
    expect(await postgresPid(home)).toBe(pid);
    await server.stop();
    await until(() => !exists(pid));
  });

  it('keeps its data when everything is killed', async () => {
    const before = await epoch(home);
    const pid = await killEverything();

    server = await start({ BERTH_HOME: home });
    expect(await epoch(home)).toBe(before);
    expect(await postgresPid(home)).not.toBe(pid);
  });

  it('starts although another program has got the process id of its dead PostgreSQL', async () => {
    const pid = await killEverything();
    await until(() => !exists(pid));
    const file = path.join(home, 'postgres/postmaster.pid');
    await writeFile(file, (await readFile(file, 'utf8')).replace(String(pid), String(process.pid)));

    server = await start({ BERTH_HOME: home });
    expect(exists(Number(await postgresPid(home)))).toBe(true);
  });

  it('ends before its PostgreSQL when the terminal is interrupted', async () => {
    process.kill(-server.pid, 'SIGINT');
    expect(await server.ended).toBe('SIGINT');
    expect(await postgresPid(home)).toBeNull();
    expect(server.output).not.toMatch(/error/i);
  });

  it('refuses a busy port, and leaves no PostgreSQL', async () => {
    await server.stop();
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    const output = await refusal({ BERTH_HOME: home, BERTH_PORT: String(port) });
    expect(output).toContain(`Port ${port} of 127.0.0.1 is in use by another program.`);
    expect(await postgresPid(home)).toBeNull();
    other.close();
  });
});

describe('a first start', () => {
  it('is won by one of several, after one that was cut off', async () => {
    const home = await newHome();
    await mkdir(path.join(home, 'postgres.new'));
    await writeFile(path.join(home, 'postgres.new/PG_VERSION'), '18\n');
    const starting = [1, 2, 3].map(() => spawn({ BERTH_HOME: home }));
    const outcomes = await Promise.allSettled(starting.map((server) => server.ready()));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const losers = starting.filter((server) => !server.url);
    for (const { output } of losers) expect(output).toContain('Another Berth is running');
  });

  it('works where nobody else may enter, under a path that is too long for a socket', async () => {
    const home = path.join(await newHome(0o700), 'long-'.repeat(20), 'path-'.repeat(20));
    const server = await start({ BERTH_HOME: home });
    expect(await answers(server)).toBe(200);
    await server.stop();
    expect(await postgresPid(home)).toBeNull();
  });

  it('refuses a database that another major version made', async () => {
    const home = await newHome();
    await mkdir(path.join(home, 'postgres'));
    await writeFile(path.join(home, 'postgres/PG_VERSION'), '17\n');
    expect(await refusal({ BERTH_HOME: home })).toMatch(
      /was made by PostgreSQL 17, and this Berth brings PostgreSQL 18/,
    );
  });

  it('refuses a directory that cannot be made', async () => {
    const file = path.join(await newHome(), 'file');
    await writeFile(file, '');
    expect(await refusal({ BERTH_HOME: path.join(file, 'home') })).toMatch(/cannot be made .* Set BERTH_HOME/);
  });

  it('names every wrong setting at once', async () => {
    const wrong = { BERTH_PORT: 'http', BERTH_ROLES: 'cook', BERTH_HOST: '0.0.0.0', BERTH_PROT: '1' };
    const output = await refusal(wrong);
    for (const name of Object.keys(wrong)) expect(output).toContain(`${name} `);
  });
});

const account = await accountFor('/none');
const asRoot = account !== null && (await canUse(account, process.execPath)) ? it : it.skip;
asRoot('an ordinary user can start it, and root on the same directory after that', async () => {
  if (!account) return;
  const home = await newHome();
  await chown(home, account.uid, account.gid);
  const server = await start({ BERTH_HOME: home, HOME: home }, account);
  expect(await answers(server)).toBe(200);
  await server.stop();
  expect(await postgresPid(home)).toBeNull();

  const asRootOnTheSame = await start({ BERTH_HOME: home });
  expect(await answers(asRootOnTheSame)).toBe(200);
});

describe('with an existing PostgreSQL', () => {
  it('migrates once when two servers start at the same moment', async () => {
    const database = await createTestDatabase(null);
    const environment = { BERTH_DATABASE_URL: database.url };
    const both = await Promise.all([start(environment), start(environment)]);
    const files = (await readdir('migrations')).sort().map((file) => ({ name: file.replace('.sql', '') }));
    expect(await database.query('select name from mikro_orm_migrations order by name')).toEqual(files);
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
