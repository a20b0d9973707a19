import { jest } from '@jest/globals';
import { DriverRegistry } from '../../src/environments/drivers/driver-registry.js';
import { eventually } from './eventually.js';
import { Scenario } from './scenario.js';
import type { TestApp } from './test-app.js';

/** A company with many agents. */
export class Fleet {
  readonly user: Scenario;

  constructor(
    private readonly app: TestApp,
    readonly companyId: string,
  ) {
    this.user = new Scenario(app.url);
  }

  agent(maxConcurrentRuns = 5, fields: object = {}): Promise<string> {
    return this.user.agent(this.companyId, 'true', { runtimeConfig: { heartbeat: { maxConcurrentRuns } }, ...fields });
  }

  /** Queues runs of an agent; each is a task of its own. */
  async wake(agentId: string, count: number): Promise<string[]> {
    const ids = [];
    for (let task = 0; task < count; task++) {
      ids.push((await this.user.wake(agentId, { payload: { taskKey: `task ${task}` } })).id);
    }
    return ids;
  }

  async wakeFor(agentId: string, issue: object): Promise<string> {
    const issueId = await this.user.issue(this.companyId, issue);
    return (await this.user.wake(agentId, { payload: { issueId } })).id;
  }

  async create(path: string, body: object): Promise<string> {
    const answer = await this.user.api.post<{ id: string }>(`/companies/${this.companyId}/${path}`, body);
    if (answer.status !== 201) throw new Error(`${path} was answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    return answer.body.id;
  }

  /** A workspace in an environment of its own. */
  async workspace(mode: string): Promise<{ id: string; environmentId: string }> {
    const environmentId = await this.create('environments', { name: mode, driver: 'other' });
    const id = await this.create('execution-workspaces', { environmentId, name: mode, mode, cwd: '/tmp' });
    return { id, environmentId };
  }

  async allEnded(): Promise<void> {
    const waiting = `select status from heartbeat_runs where company_id = $1 and status in ('queued', 'running')`;
    await eventually(
      () => this.app.database.query(waiting, [this.companyId]),
      (rows) => rows.length === 0,
    );
  }

  /** The most runs that were ever running at once, of those with the same value of an expression. */
  async mostAtOnce(same: string): Promise<number> {
    const [row] = await this.app.database.query<{ most: number }>(
      `with run as (select id, started_at, finished_at, ${same} as owner from heartbeat_runs r
         where r.company_id = $1 and started_at is not null)
       select coalesce(max(together), 0)::integer as most from (
         select count(*) as together from run a join run b on b.owner = a.owner
           and b.started_at <= a.started_at and a.started_at < coalesce(b.finished_at, 'infinity')
         group by a.id) at_each_start`,
      [this.companyId],
    );
    return row.most;
  }
}

/** More environments than one need more drivers than one: here each name stands for the same. */
export function anyDriverIsLocal(...apps: TestApp[]): void {
  for (const app of apps) {
    const local = app.get(DriverRegistry).get('local');
    jest.spyOn(app.get(DriverRegistry), 'get').mockReturnValue(local);
  }
}
