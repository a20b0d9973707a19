import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseProxy } from './database-proxy.js';
import { startTestApp, type TestApp, type TestAppOptions } from './test-app.js';
import { createTestDatabase } from './test-database.js';

/** An application whose way to its database can be disturbed; `database` reaches it undisturbed. */
export interface ProxiedApp extends TestApp {
  readonly proxy: DatabaseProxy;
}

export async function startProxiedApp(config: TestAppOptions['config'] = {}): Promise<ProxiedApp> {
  const database = await createTestDatabase();
  const proxy = await DatabaseProxy.start(database.url);
  const app = await startTestApp({ database, config: { ...config, databaseUrl: proxy.url } });
  return {
    ...app,
    proxy,
    async close() {
      proxy.comeBack();
      await app.close();
      await proxy.close();
      await database.close();
    },
  };
}

/** A file that an agent's process adds a line to whenever it is executed. */
export class Tally {
  private constructor(private readonly file: string) {}

  static async create(): Promise<Tally> {
    const tally = new Tally(path.join(await mkdtemp(path.join(tmpdir(), 'berth-tally-')), 'executions'));
    await appendFile(tally.file, '');
    return tally;
  }

  /** Shell that adds a line. */
  get add(): string {
    return `echo once >> '${this.file}'`;
  }

  /** Shell that succeeds until a second line has been added. */
  get isFirst(): string {
    return `[ $(wc -l < '${this.file}') -le 1 ]`;
  }

  /** Shell that waits until it is told to go on. */
  get untilTold(): string {
    return `until [ -e '${this.file}.told' ]; do sleep 0.05; done`;
  }

  goOn(): Promise<void> {
    return appendFile(`${this.file}.told`, '');
  }

  async count(): Promise<number> {
    return (await readFile(this.file, 'utf8')).split('\n').length - 1;
  }

  remove(): Promise<void> {
    return rm(path.dirname(this.file), { recursive: true });
  }
}
