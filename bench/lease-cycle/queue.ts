import type { Client } from 'pg';
import { newId } from '#berth/database/id.js';
import { HttpClient } from '../http.ts';

/** Enough that none of them ever reaches its cap. */
const AGENTS = 64;

/** Puts runs in the queue, as wakes do, but many at once. */
export class Queue {
  private readonly client: Client;
  private readonly company: string;
  private readonly agents: readonly string[];

  private constructor(client: Client, company: string, agents: readonly string[]) {
    this.client = client;
    this.company = company;
    this.agents = agents;
  }

  /** Makes a company and its agents over the API. */
  static async prepare(url: string, client: Client): Promise<Queue> {
    using http = new HttpClient(url);
    const company = await http.post<{ id: string }>('/companies', { name: 'Harbour' });
    const agents: string[] = [];
    for (let agent = 1; agent <= AGENTS; agent++) {
      const fields = { name: `Agent ${agent}`, adapterConfig: { command: '/bin/true' } };
      agents.push((await http.post<{ id: string }>(`/companies/${company.id}/agents`, fields)).id);
    }
    return new Queue(client, company.id, agents);
  }

  /** @returns the runs' ids, in the order in which agents take turns. */
  async fill(count: number, idOf: (index: number) => string = newId): Promise<string[]> {
    const runs = Array.from({ length: count }, (_, index) => {
      const agent = this.agents[index % this.agents.length];
      return { run: idOf(index), wake: newId(), agent, company: this.company, task: `task ${index}` };
    });
    await this.client.query(QUEUE, [JSON.stringify(runs)]);
    return runs.map(({ run }) => run);
  }
}

const QUEUE = `
with wanted as (
  select * from jsonb_to_recordset($1) x(run uuid, wake uuid, agent uuid, company uuid, task text))
insert into heartbeat_runs (id, company_id, agent_id, wakeup_request_id, invocation_source, trigger_detail, status,
  context_snapshot)
select run, company, agent, wake, 'on_demand', 'manual', 'queued', jsonb_build_object('taskKey', task) from wanted`;
