import { rm } from 'node:fs/promises';
import { Scenario } from '../support/scenario.js';
import { startServerProcess, type ServerProcess } from '../support/server-process.js';
import { PaperclipClient } from './paperclip-client.js';

/** A server with its own PostgreSQL and one company in it, and the client that is tried on it. */
export class Harbour {
  private constructor(
    private readonly server: ServerProcess,
    readonly client: PaperclipClient,
    readonly user: Scenario,
    readonly company: string,
  ) {}

  static async open(): Promise<Harbour> {
    const server = await startServerProcess();
    const user = new Scenario(server.url);
    const company = await user.company({ issuePrefix: 'HAR' });
    return new Harbour(server, await PaperclipClient.of(server.url), user, company);
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
