import { spawn } from 'node:child_process';
import { mkdir, open, readFile, rename, stat } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { Client } from 'pg';
import { StartupError } from '../../config/startup-error.js';
import { accountFor, type Account } from './account.js';
import { locateBinaries, type Binaries } from './binaries.js';
import { initialise, invocationIn } from './data-directory.js';
import { chooseEndpoint, urlOf, type Endpoint } from './endpoint.js';
import { isAlive, readPidFile, stopPostmaster, takeOverPidFile } from './postmaster.js';

const LOG_LIMIT_BYTES = 10 * 1024 * 1024;
/** How long a PostgreSQL that was killed may still hold its pid file, as a process that nobody has reaped yet. */
const STALE_MS = 5_000;
/** How long an adopted PostgreSQL may take to recover or to stop. */
const TRANSITION_MS = 120_000;
const WATCH_MS = 1_000;

/** How the server runs, apart from where. */
export interface EmbeddedPostgresOptions {
  /** Further settings of the server, for example `{ fsync: 'off' }` in tests. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Called when the server has been started as a process, and is being waited for. */
  readonly meanwhile?: () => void;
}

/**
 * The PostgreSQL that Berth brings along, with its files in one directory. It runs as a process of its own, so that a
 * signal to the terminal reaches Berth alone, and Berth stops it last. One that a killed Berth left behind is adopted.
 * The caller makes sure that only one Berth uses the directory: see `lockHome`.
 */
export class EmbeddedPostgres {
  private pid = 0;
  private relaunching: Promise<void> | null = null;
  private watch: NodeJS.Timeout | undefined;
  private readonly logger = new Logger(EmbeddedPostgres.name);

  private constructor(
    private readonly home: string,
    private readonly directory: string,
    private readonly binaries: Binaries,
    private readonly account: Account | null,
    private readonly endpoint: Endpoint,
    private readonly settings: Readonly<Record<string, string>>,
  ) {}

  /**
   * Starts it, making the database first where there is none.
   * @param home absolute; the files go to `<home>/postgres`, the log to `<home>/postgres.log`.
   * @throws StartupError when it cannot run here.
   */
  static async start(
    home: string,
    { settings = {}, meanwhile }: EmbeddedPostgresOptions = {},
  ): Promise<EmbeddedPostgres> {
    const directory = path.join(home, 'postgres');
    await mkdir(home, { recursive: true });
    const account = await accountFor(directory);
    const binaries = await locateBinaries(account);
    const endpoint = await chooseEndpoint(home, directory, account);
    await initialise(directory, binaries, account, endpoint.password, settings.fsync !== 'off');
    const server = new EmbeddedPostgres(home, directory, binaries, account, endpoint, settings);
    await server.launch(meanwhile);
    server.watchOver();
    return server;
  }

  /** Where a database of the server in this home is, if that runs and has it; starts nothing. */
  static async find(home: string, database: string): Promise<string | null> {
    const directory = path.join(home, 'postgres');
    if (!(await readPidFile(directory))) return null;
    const url = urlOf(await chooseEndpoint(home, directory, await accountFor(directory)), database);
    return (await answers(url)) ? url : null;
  }

  /** Where a database of this server is. */
  url(database: string): string {
    return urlOf(this.endpoint, database);
  }

  /** Makes the database unless it is there, and says where it is. */
  async ensureDatabase(name: string): Promise<string> {
    const client = new Client({ connectionString: this.url('postgres') });
    await client.connect();
    try {
      const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [name]);
      if (rowCount === 0) await client.query(`create database ${client.escapeIdentifier(name)}`);
    } finally {
      await client.end();
    }
    return this.url(name);
  }

  /** Ends its sessions and stops it; returns when it is gone. */
  async stop(): Promise<void> {
    clearInterval(this.watch);
    await this.relaunching;
    await stopPostmaster(this.pid, this.directory, this.binaries);
    await this.endpoint.remove().catch(() => undefined);
  }

  /** Adopts a server that runs on the directory, or starts one; what a dead one left may be in the way for a while. */
  private async launch(meanwhile?: () => void): Promise<void> {
    const begunAt = Date.now();
    for (;;) {
      const running = await readPidFile(this.directory);
      if (running && isAlive(running.pid)) {
        if (running.state === 'ready' && (await answers(this.url('postgres')))) {
          this.pid = running.pid;
          return;
        }
        await takeOverPidFile(this.directory, this.endpoint.host, running);
      }
      const failure = await this.spawnServer(meanwhile);
      if (failure === null) return;
      const patience = running && running.state !== 'ready' ? TRANSITION_MS : STALE_MS;
      if (!/lock file ".*" already exists/.test(failure) || Date.now() > begunAt + patience) {
        throw new StartupError(`PostgreSQL did not start in ${this.directory}:\n${failure}`);
      }
      await sleep(100);
    }
  }

  /** Starts the server and waits until it takes connections. Returns what it said when it ended instead. */
  private async spawnServer(meanwhile?: () => void): Promise<string | null> {
    const logFile = path.join(this.home, 'postgres.log');
    await rotate(logFile);
    const log = await open(logFile, 'a', 0o600);
    const { size } = await log.stat();
    const { directory, options } = await invocationIn(this.directory, this.account);
    const settings = { ...this.endpoint.settings(directory), timezone: 'UTC', log_timezone: 'UTC', ...this.settings };
    const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const child = spawn(this.binaries.postgres, ['-D', directory, ...flags], {
      ...options,
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
    });
    const ended = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('exit', (code, signal) => resolve(`ended with ${signal ?? code}`));
    });
    child.unref();
    meanwhile?.();
    try {
      for (;;) {
        const pidFile = await readPidFile(this.directory);
        if (pidFile?.state === 'ready' && pidFile.pid === child.pid && (await answers(this.url('postgres')))) break;
        const end = await Promise.race([ended, sleep(20)]);
        if (end !== undefined) return (await textFrom(logFile, size)) || end;
      }
    } finally {
      await log.close();
    }
    this.pid = child.pid ?? 0;
    return null;
  }

  private watchOver(): void {
    this.watch = setInterval(() => {
      if (this.relaunching || isAlive(this.pid)) return;
      this.logger.error(`PostgreSQL has died; see ${path.join(this.home, 'postgres.log')}. It is started again.`);
      this.relaunching = this.launch()
        .catch((error: unknown) => this.logger.error(error))
        .finally(() => (this.relaunching = null));
    }, WATCH_MS).unref();
  }
}

async function answers(url: string): Promise<boolean> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: STALE_MS });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function rotate(logFile: string): Promise<void> {
  const size = await stat(logFile).then(
    (found) => found.size,
    () => 0,
  );
  if (size > LOG_LIMIT_BYTES) await rename(logFile, `${logFile}.1`);
}

async function textFrom(file: string, offset: number): Promise<string> {
  return (await readFile(file)).subarray(offset).toString('utf8').trim();
}
