import { chmodSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { EmbeddedPostgres } from '../../src/database/embedded/embedded-postgres.js';
import { ServerMember } from './server-member.js';

/** So few that they can be used up. */
const MAX_CONNECTIONS = 60;

/** What a deployment is made of. */
export interface DeploymentOptions {
  readonly apis: number;
  readonly runners: number;
  readonly slots: number;
  readonly leaseTtlSec: number;
}

/**
 * Berth as several processes on one PostgreSQL, all of them the real thing: the built server, the database that it
 * brings along with its default settings, and a network between each server and the database that can fail.
 */
export class Deployment {
  /** What somebody did that nobody asked for. */
  get faults(): string[] {
    return this.members.flatMap(({ faults }) => faults);
  }

  private constructor(
    private readonly home: string,
    /** Null while it is away. */
    private postgres: EmbeddedPostgres | null,
    readonly databaseUrl: string,
    readonly apis: readonly ServerMember[],
    readonly runners: readonly ServerMember[],
    readonly options: DeploymentOptions,
  ) {}

  static async start(options: DeploymentOptions): Promise<Deployment> {
    const home = mkdtempSync(path.join(tmpdir(), 'berth-chaos-'));
    chmodSync(home, 0o755);
    const postgres = await startPostgres(home);
    const url = await postgres.ensureDatabase('berth');
    const apis: ServerMember[] = [];
    const shared = { BERTH_LEASE_TTL_SEC: String(options.leaseTtlSec), BERTH_DRAIN_SEC: '1' };
    for (let n = 1; n <= options.apis; n++) apis.push(await ServerMember.create(`api ${n}`, 'api', url, () => shared));
    const ofRunner = () => ({ ...shared, BERTH_RUNNER_SLOTS: String(options.slots), BERTH_PUBLIC_URL: apis[0].url });
    const runners: ServerMember[] = [];
    for (let n = 1; n <= options.runners; n++) {
      runners.push(await ServerMember.create(`runner ${n}`, 'runner', url, ofRunner));
    }
    const deployment = new Deployment(home, postgres, url, apis, runners, options);
    await apis[0].start();
    await Promise.all([...apis.slice(1), ...runners].map((member) => member.start()));
    return deployment;
  }

  get members(): ServerMember[] {
    return [...this.apis, ...this.runners];
  }

  /** Runs a statement on a connection of its own, past all proxies. */
  async query<Row extends object>(sql: string, parameters: unknown[] = []): Promise<Row[]> {
    const client = await this.connect();
    try {
      return (await client.query<Row>(sql, parameters)).rows;
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  /** @throws when there is no database, or no connection left. */
  async connect(): Promise<Client> {
    const client = new Client({ connectionString: this.databaseUrl, application_name: 'berth-chaos' });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  /** Ends every session and writes everything out, or stops at once as in a crash; then starts it again. */
  async restartPostgres(how: 'fast' | 'crash', awayMs: number): Promise<void> {
    if (how === 'crash') await this.quitPostgres();
    await this.postgres?.stop();
    this.postgres = null;
    await delay(awayMs);
    this.postgres = await startPostgres(this.home);
  }

  /** Everything is there again, and nothing is in anybody's way. */
  async heal(): Promise<void> {
    this.postgres ??= await startPostgres(this.home);
    for (const { proxy } of this.members) proxy.comeBack();
    await Promise.all(
      this.members.map(async (member) => {
        member.thaw();
        if (!member.isUp) await member.start();
      }),
    );
  }

  async stop(): Promise<void> {
    await Promise.all(this.members.map((member) => member.close()));
    await this.postgres?.stop();
  }

  /** Every process of the server ends at once, and recovers from the log at its next start. */
  private async quitPostgres(): Promise<void> {
    const [{ pid }] = await this.query<{ pid: number }>(
      `select (regexp_match(pg_read_file('postmaster.pid'), '^\\d+'))[1]::integer as pid`,
    );
    process.kill(pid, 'SIGQUIT');
  }
}

const startPostgres = (home: string) =>
  EmbeddedPostgres.start(home, { settings: { max_connections: String(MAX_CONNECTIONS) } });
