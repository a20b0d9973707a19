import path from 'node:path';
import type { Cluster } from '../cluster.ts';
import { Server } from '../server.ts';

/** The processes of one Berth, on a database that is there already. */
export class Servers implements AsyncDisposable {
  private readonly processes: readonly Server[];

  private constructor(processes: readonly Server[]) {
    this.processes = processes;
  }

  /**
   * @param runners processes that execute runs, beside one that does not; 0 for one process that does everything.
   * @param changes of the default settings.
   */
  static async start({ home, url }: Cluster, runners: number, changes: NodeJS.ProcessEnv = {}): Promise<Servers> {
    const settings = { BERTH_DATABASE_URL: url, BERTH_HOME: path.join(home, 'server'), ...changes };
    if (runners === 0) return new Servers([await Server.start(settings)]);
    const api = await Server.start({ ...settings, BERTH_ROLES: 'api' });
    const processes = [api];
    for (let runner = 1; runner <= runners; runner++) {
      const BERTH_HOME = path.join(home, `runner-${runner}`);
      processes.push(await Server.start({ ...settings, BERTH_ROLES: 'runner', BERTH_PUBLIC_URL: api.url, BERTH_HOME }));
    }
    return new Servers(processes);
  }

  /** Of the API. */
  get url(): string {
    return this.processes[0].url;
  }

  get pids(): number[] {
    return this.processes.map(({ pid }) => pid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.processes.map((server) => server[Symbol.asyncDispose]()));
  }
}
