import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';

const PROJECT = path.resolve(import.meta.dirname, '..');
/** What `npm start` runs: `exec node OPTIONS dist/main.js`. */
const START = (JSON.parse(readFileSync(path.join(PROJECT, 'package.json'), 'utf8')) as { scripts: { start: string } })
  .scripts.start;
const ARGUMENTS = START.replace(/^exec node /, '').split(' ');
const READY = /API is at (http:\S+?)\/api,/;

/** The built server as a process of its own, as `npm start` runs it. */
export class Server implements AsyncDisposable {
  private readonly child: ChildProcess;
  private readonly ended: Promise<unknown>;
  private output = '';
  private isStopping = false;
  /** `http://127.0.0.1:<port>`, once it listens. */
  url = '';

  private constructor(settings: NodeJS.ProcessEnv) {
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('BERTH_'));
    const environment = { ...Object.fromEntries(inherited), BERTH_PORT: '0', BERTH_LOG_LEVEL: 'warn', ...settings };
    this.child = spawn(process.execPath, ARGUMENTS, { cwd: PROJECT, env: environment });
    this.ended = once(this.child, 'close');
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    }
  }

  /**
   * Starts it and waits until it listens.
   * @param settings `BERTH_HOME`, and whatever else differs from the defaults; the port is any free one.
   */
  static async start(settings: NodeJS.ProcessEnv & { BERTH_HOME: string }): Promise<Server> {
    const server = new Server(settings);
    let hasEnded = false;
    void server.ended.then(() => (hasEnded = true));
    while (server.url === '' && !hasEnded) {
      await Promise.race([once(server.child.stdout!, 'data'), server.ended]);
      server.url = READY.exec(server.output)?.[1] ?? '';
    }
    if (server.url === '') throw new Error(`The server ended before it was ready:\n${server.output}`);
    void server.ended.then(() => {
      if (!server.isStopping) console.error(`The server ended while it was needed:\n${server.output}`);
    });
    return server;
  }

  get pid(): number {
    return this.child.pid!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.isStopping = true;
    this.child.kill();
    await this.ended;
  }
}
