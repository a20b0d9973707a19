import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { EmbeddedPostgres } from '#berth/database/embedded/embedded-postgres.js';

/** What the embedded PostgreSQL is started with besides Berth's own settings: the means to count. */
const SETTINGS = { shared_preload_libraries: 'pg_stat_statements' };
/** Whoever watches is not counted: its statements are told apart by their user. */
const WATCHER = 'bench';
const DURABLE = ['fsync', 'synchronous_commit', 'full_page_writes'] as const;

/** The PostgreSQL that Berth brings along, in a temporary home, as durable as in production. */
export class Cluster implements AsyncDisposable {
  /** A directory for whatever else has to be kept meanwhile; it is removed with the cluster. */
  readonly home: string;
  /** The address of its database, empty at first, as Berth connects to it. */
  readonly url: string;
  /** A connection of the benchmark's own, whose statements are not counted. */
  readonly watcher: Client;
  private readonly postgres: EmbeddedPostgres;

  private constructor(home: string, url: string, watcher: Client, postgres: EmbeddedPostgres) {
    this.home = home;
    this.url = url;
    this.watcher = watcher;
    this.postgres = postgres;
  }

  /** @param settings of PostgreSQL, where a benchmark needs other ones than the defaults. */
  static async start(settings: Readonly<Record<string, string>> = {}): Promise<Cluster> {
    const home = await mkdtemp(path.join(tmpdir(), 'berth-bench-'));
    // PostgreSQL may have to run as another user, and goes through it.
    await chmod(home, 0o755);
    const postgres = await EmbeddedPostgres.start(home, { settings: { ...SETTINGS, ...settings } });
    const url = await postgres.ensureDatabase('berth');
    const watcher = await connectWatcher(url);
    for (const setting of DURABLE) {
      const { rows } = await watcher.query<Record<string, string>>(`show ${setting}`);
      if (rows[0][setting] !== 'on')
        throw new Error(`${setting} is ${rows[0][setting]}: nothing that is measured counts`);
    }
    return new Cluster(home, url, watcher, postgres);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.watcher.end();
    await this.postgres.stop();
    await rm(this.home, { recursive: true, force: true });
  }
}

/** A connection to a database of the cluster whose statements are told apart from Berth's. */
export async function connectWatcher(url: string): Promise<Client> {
  const berth = new Client(url);
  await berth.connect();
  await berth.query(
    `create extension pg_stat_statements; create extension pg_walinspect;
     do $$ begin create role ${WATCHER} superuser login; exception when duplicate_object then null; end $$`,
  );
  await berth.end();
  const address = new URL(url);
  address.username = WATCHER;
  const watcher = new Client(address.href);
  await watcher.connect();
  // What it asks while the work goes on must not cost what the work needs: young tables have no statistics.
  await watcher.query('set enable_seqscan = off');
  return watcher;
}
