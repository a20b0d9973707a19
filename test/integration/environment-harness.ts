import { ApiClient } from '../support/api-client.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

/** An environment as the API answers it. */
export interface Environment {
  id: string;
  companyId: string;
  name: string;
  driver: string;
  status: string;
  config: object;
  envVars: object;
  capacity: number | null;
  activeLeaseCount: number;
}

/** A server that executes nothing, and an operator who makes environments and workspaces there. */
export class EnvironmentHarness {
  readonly operator: ApiClient;

  private constructor(readonly app: TestApp) {
    this.operator = new ApiClient(app.url);
  }

  static async start(): Promise<EnvironmentHarness> {
    return new EnvironmentHarness(await startTestApp({ config: { roles: new Set(['api']) } }));
  }

  close(): Promise<void> {
    return this.app.close();
  }

  async company(): Promise<string> {
    return (await this.operator.post<{ id: string }>('/companies', { name: 'Harbour' })).body.id;
  }

  /** The environment that the company has from the beginning. */
  async localOf(companyId: string): Promise<Environment> {
    return (await this.operator.get<[Environment]>(`/companies/${companyId}/environments`)).body[0];
  }

  /** An environment of another driver: none but `local` is built in yet, so it comes from outside the API. */
  async other(companyId: string, name: string): Promise<string> {
    const [row] = await this.app.database.query<{ id: string }>(
      `insert into environments (id, company_id, name, driver) values (gen_random_uuid(), $1, $2, 'other') returning id`,
      [companyId, name],
    );
    return row.id;
  }

  async agent(companyId: string): Promise<string> {
    return (await this.operator.post<{ id: string }>(`/companies/${companyId}/agents`, { name: 'holder' })).body.id;
  }

  async agentToken(companyId: string): Promise<string> {
    const agentId = await this.agent(companyId);
    return (await this.operator.post<{ token: string }>(`/agents/${agentId}/keys`, { name: 'k' })).body.token;
  }

  /** What the record says of the company's environments and workspaces. */
  actions(companyId: string) {
    const sql = `select action, actor_type, details from activity_log
      where company_id = $1 and entity_type in ('environment', 'execution_workspace') order by seq`;
    return this.app.database.query<{ action: string; actor_type: string; details: object }>(sql, [companyId]);
  }
}
