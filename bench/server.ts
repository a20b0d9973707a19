import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';

const MAIN = path.resolve(import.meta.dirname, '../dist/main.js');
const READY = /API is at (http:\S+?)\/api,/;

/** The built server as a process of its own, as `npm start` runs it. */
export class Server implements AsyncDisposable {
  private readonly child: ChildProcess;
  private readonly ended: Promise<unknown>;
  private output = '';
  /** `http://127.0.0.1:<port>`, once it listens. */
  url = '';

  private constructor(settings: NodeJS.ProcessEnv) {
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('BERTH_'));
    const environment = { ...Object.fromEntries(inherited), BERTH_PORT: '0', BERTH_LOG_LEVEL: 'warn', ...settings };
    this.child = spawn(process.execPath, ['--enable-source-maps', MAIN], { env: environment });
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
    return server;
  }

  get pid(): number {
    return this.child.pid!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill();
    await this.ended;
  }
}
