import { rm } from 'node:fs/promises';
import { Scenario } from '../support/scenario.js';
import { startServerProcess, type ServerProcess } from '../support/server-process.js';
import { PaperclipClient } from './paperclip-client.js';

/** Of an authenticated server. */
export const FIRST_KEY = 'Zx8-what+an/operator=made~up_itself!';

/** A server with its own PostgreSQL and one company in it, and the client that is tried on it. */
export class Harbour {
  private constructor(
    private readonly server: ServerProcess,
    readonly client: PaperclipClient,
    readonly user: Scenario,
    readonly company: string,
  ) {}

  /** @param settings of the server; an authenticated one has the first key. */
  static async open(settings: NodeJS.ProcessEnv = {}): Promise<Harbour> {
    const server = await startServerProcess(settings);
    const user = new Scenario(server.url, settings.BERTH_BOOTSTRAP_KEY);
    const company = await user.company({ issuePrefix: 'HAR' });
    const client = await PaperclipClient.of(server.url);
    const { BERTH_BOOTSTRAP_KEY: key } = settings;
    return new Harbour(server, key ? client.as(key) : client, user, company);
  }

  /** The secret of a new API key of the agent. */
  async keyOf(agentId: string): Promise<string> {
    return (await this.user.api.post<{ token: string }>(`/agents/${agentId}/keys`, { name: 'kept' })).body.token;
  }

  async close(): Promise<void> {
    await this.server.stop();
    await this.client.close();
    await rm(this.server.home, { recursive: true, force: true });
  }
}
