import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { journalsIn, parseJournal } from '../../src/environments/drivers/guard/runner-journal.js';
import { DatabaseProxy } from '../support/database-proxy.js';
import { ServerProcess } from '../support/server-process.js';

/** How long a server that ended while it was starting is left before it is started again, as a supervisor would. */
const RESTART_MS = 500;
/** How often that is tried. */
const STARTS = 40;

/** One server of a deployment: started again in the same home whenever it was ended, with its own way to the database. */
export class ServerMember {
  private server: ServerProcess | null = null;
  private isWanted = false;
  private isFrozen = false;
  private readonly home = mkdtempSync(path.join(tmpdir(), 'berth-member-'));
  /** What it did that nobody asked for. */
  readonly faults: string[] = [];

  private constructor(
    readonly name: string,
    readonly role: 'api' | 'runner',
    readonly proxy: DatabaseProxy,
    private readonly settings: () => NodeJS.ProcessEnv,
  ) {}

  /** @param settings asked at each start; beside role, home and the way to the database. */
  static async create(
    name: string,
    role: 'api' | 'runner',
    databaseUrl: string,
    settings: () => NodeJS.ProcessEnv,
  ): Promise<ServerMember> {
    return new ServerMember(name, role, await DatabaseProxy.start(databaseUrl), settings);
  }

  get url(): string {
    return this.server?.url ?? '';
  }

  /** All that it has printed since its last start. */
  get output(): string {
    return this.server?.output ?? '';
  }

  get pid(): number {
    return this.server?.pid ?? 0;
  }

  get isUp(): boolean {
    return this.isWanted && !this.isFrozen && this.server !== null && !this.server.hasEnded;
  }

  /** Starts it, again if it cannot start because the database is away; returns when it is ready. */
  async start(): Promise<void> {
    let failure: unknown;
    for (let attempt = 0; attempt < STARTS; attempt++) {
      const server = ServerProcess.spawn({
        ...this.settings(),
        BERTH_HOME: this.home,
        BERTH_ROLES: this.role,
        BERTH_DATABASE_URL: this.proxy.url,
      });
      try {
        await server.ready();
        return this.watch(server);
      } catch (error) {
        failure = error;
        await server.kill9();
        await delay(RESTART_MS);
      }
    }
    throw failure;
  }

  async kill9(): Promise<void> {
    this.isWanted = false;
    await this.server?.kill9();
    this.isFrozen = false;
  }

  /** Asks it to stop, and waits until it has. */
  async stop(): Promise<void> {
    this.isWanted = false;
    await this.server?.stop();
  }

  freeze(): void {
    this.isFrozen = true;
    this.signal('SIGSTOP');
  }

  thaw(): void {
    this.signal('SIGCONT');
    this.isFrozen = false;
  }

  /** Ends the guard processes that watch over what this runner has started. */
  killGuard(): void {
    for (const guardPid of this.guards()) killIfThere(guardPid, 'SIGKILL');
  }

  async close(): Promise<void> {
    await this.kill9();
    await this.proxy.close();
  }

  private watch(server: ServerProcess): void {
    this.server = server;
    this.isWanted = true;
    void server.ended.then((end) => {
      if (this.server !== server || !this.isWanted) return;
      this.faults.push(`${this.name} ended by itself (${end}):\n${server.output.slice(-2000)}`);
    });
  }

  private signal(signal: NodeJS.Signals): void {
    if (this.server && !this.server.hasEnded) killIfThere(this.server.pid, signal);
  }

  private guards(): number[] {
    try {
      const folder = journalsIn(this.home);
      const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
      return files.map((name) => parseJournal(readFileSync(path.join(folder, name), 'utf8')).guardPid);
    } catch {
      return []; // none has begun, or it is just being written
    }
  }
}

function killIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended already.
  }
}
