import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** The project: what a user has cloned. */
export const PROJECT = path.resolve(import.meta.dirname, '../..');
/** What `npm start` runs: `exec node OPTIONS dist/main.js`. */
const { start } = (
  JSON.parse(readFileSync(path.join(PROJECT, 'package.json'), 'utf8')) as { scripts: { start: string } }
).scripts;
const OPTIONS = start.split(' ').slice(2, -1);
const READY = /API is at (http:\S+?)\/api,/;
const START_MS = 120_000;

/** A server that runs as a process of its own, as a user starts it. */
export class ServerProcess {
  output = '';
  url = '';
  hasEnded = false;
  /** Its exit code or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;

  private constructor(
    private readonly child: ChildProcess,
    readonly home: string,
  ) {
    this.ended = once(child, 'close').then(([code, signal]) => {
      this.hasEnded = true;
      return (signal ?? code) as number | NodeJS.Signals;
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    }
  }

  /** Spawns the built server without waiting for anything. */
  static spawn(
    environment: NodeJS.ProcessEnv = {},
    options: { uid?: number; gid?: number; detached?: boolean } = {},
  ): ServerProcess {
    const home = environment.BERTH_HOME ?? mkdtempSync(path.join(tmpdir(), 'berth-home-'));
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('BERTH_'));
    const child = spawn(process.execPath, [...OPTIONS, path.join(PROJECT, 'dist/main.js')], {
      env: {
        ...Object.fromEntries(inherited),
        BERTH_PORT: '0',
        BERTH_LOG_LEVEL: 'warn',
        BERTH_DRAIN_SEC: '0',
        ...environment,
        BERTH_HOME: home,
      },
      cwd: tmpdir(),
      ...options,
    });
    return new ServerProcess(child, home);
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** Waits until it listens, and fails with what it printed when it ends instead. */
  async ready(): Promise<this> {
    let timer: NodeJS.Timeout | undefined;
    const listens = new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`The server does not get ready:\n${this.output}`)), START_MS);
      const look = () => {
        this.url = READY.exec(this.output)?.[1] ?? '';
        if (this.url) resolve();
      };
      this.child.stdout?.on('data', look);
      look();
    });
    const endedFirst = this.ended.then((end) =>
      Promise.reject(new Error(`The server ended (${end}):\n${this.output}`)),
    );
    await Promise.race([listens, endedFirst]).finally(() => clearTimeout(timer));
    return this;
  }

  /** Asks it to stop, and answers how it ended. */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals> {
    this.child.kill(signal);
    return this.ended;
  }

  /** Ends this process alone, at once, as a crash would; what it started goes on. */
  kill9(): Promise<number | NodeJS.Signals> {
    return this.stop('SIGKILL');
  }
}

/**
 * Starts the built server (`npm run build`) in a home of its own, on any free port, and waits until it listens.
 * @param environment `BERTH_*` variables; without BERTH_DATABASE_URL it starts the PostgreSQL that comes with Berth.
 */
export const startServerProcess = (environment: NodeJS.ProcessEnv = {}): Promise<ServerProcess> =>
  ServerProcess.spawn(environment).ready();
