import { newId } from '../../src/database/id.js';
import { ApiClient } from '../support/api-client.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

/** An agent as the API answers it. */
export interface Agent {
  id: string;
  companyId: string;
  name: string;
  status: string;
  adapterType: string;
  adapterConfig: Record<string, unknown>;
  runtimeConfig: Record<string, unknown>;
  defaultEnvironmentId: string | null;
  pauseReason: string | null;
  pausedAt: string | null;
  metadata: Record<string, unknown>;
}

/** A server, and an operator with the agents of a company. */
export class AgentHarness {
  private constructor(
    readonly app: TestApp,
    readonly operator: ApiClient,
    readonly companyId: string,
  ) {}

  static async start(): Promise<AgentHarness> {
    const app = await startTestApp();
    const operator = new ApiClient(app.url);
    const { body } = await operator.post<{ id: string }>('/companies', { name: 'Quay' });
    return new AgentHarness(app, operator, body.id);
  }

  close(): Promise<void> {
    return this.app.close();
  }

  async create(body: object, company = this.companyId): Promise<Agent> {
    return (await this.operator.post<Agent>(`/companies/${company}/agents`, body)).body;
  }

  /** With a key of the agent's own. */
  async clientOf(agentId: string): Promise<ApiClient> {
    const { body } = await this.operator.post<{ token: string }>(`/agents/${agentId}/keys`, { name: 'key' });
    return this.operator.as(body.token);
  }

  /** What the record says of the agent. */
  async actionsOn(agentId: string): Promise<string[]> {
    const sql = `select action from activity_log where entity_type = 'agent' and entity_id = $1 order by seq`;
    return (await this.app.database.query<{ action: string }>(sql, [agentId])).map(({ action }) => action);
  }

  async environment(company = this.companyId, status = 'active'): Promise<string> {
    const id = newId();
    await this.app.database.query(
      `insert into environments (id, company_id, name, driver, status) values ($1, $2, $3, 'test', $4)`,
      [id, company, `env ${id}`, status],
    );
    return id;
  }

  /** A run of the agent that runs, without a runner that would end it. */
  async runningRun(agentId: string): Promise<string> {
    const [runId, leaseId, environmentId] = [newId(), newId(), await this.environment()];
    await this.app.database.query(
      `with run as (
         insert into heartbeat_runs
           (id, company_id, agent_id, invocation_source, status, lease_id, runner_id, started_at)
         values ($1, $2, $3, 'on_demand', 'running', $4, 'test', now()))
       insert into environment_leases
         (id, company_id, environment_id, heartbeat_run_id, run_lease_id, holder, status, provider, acquired_at,
          last_used_at, expires_at, lifetime_ends_at)
       values ($4, $2, $5, $1, $4, 'test', 'active', 'test', now(), now(), now() + interval '1 hour',
         now() + interval '1 day')`,
      [runId, this.companyId, agentId, leaseId, environmentId],
    );
    return runId;
  }
}
