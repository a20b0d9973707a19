import type { ApiClient, Answer, Refusal } from './api-client.js';
import { eventually } from './eventually.js';
import type { Lease } from './scenario.js';
import type { TestApp } from './test-app.js';

export interface Reserved extends Lease, Refusal {
  holder: string;
  companyId: string;
  metadata: object;
  executionWorkspaceId: string | null;
}

/** What a refusal says of who has it, and who comes first. */
export interface HeldDetails {
  capacity: number | null;
  heldCount: number;
  heldBy: { leaseId: string; holder: string; heartbeatRunId: string | null; since: string }[];
  waitingBefore: { kind: string; id: string; holder: string; since: string }[];
}

/** Callers who want leases of one environment. */
export class Callers {
  constructor(
    private readonly app: TestApp,
    private readonly api: ApiClient,
    private readonly companyId: string,
    readonly environmentId: string,
  ) {}

  ask(fields: object = {}, api = this.api): Promise<Answer<Reserved>> {
    const body = { environmentId: this.environmentId, holder: 'backup', ...fields };
    return api.post<Reserved>(`/companies/${this.companyId}/environment-leases`, body);
  }

  /** @throws Error when it is refused. */
  async acquire(fields: object = {}, api = this.api): Promise<Reserved> {
    const { status, body } = await this.ask(fields, api);
    if (status !== 201) throw new Error(`It was answered ${status}: ${JSON.stringify(body)}`);
    return body;
  }

  /** Asks, and returns once it waits in the queue. */
  async queue(holder: string, fields: object = {}, api = this.api): Promise<{ answer: Promise<Answer<Reserved>> }> {
    const answer = this.ask({ holder, waitSec: 30, ...fields }, api);
    await this.waiting((holders) => holders.includes(holder));
    return { answer };
  }

  /** Waits until the queue has this form; by holders, the longest waiting first. */
  waiting(fits: (holders: string[]) => boolean): Promise<string[]> {
    const sql = 'select holder from lease_requests where environment_id = $1 order by created_at';
    return eventually(
      async () => (await this.app.database.query<{ holder: string }>(sql, [this.environmentId])).map((r) => r.holder),
      fits,
    );
  }

  async release({ id, fencingToken }: { id: string; fencingToken: number }): Promise<void> {
    const { status } = await this.api.post(`/environment-leases/${id}/release`, { fencingToken });
    if (status !== 200) throw new Error(`The release was answered ${status}`);
  }

  async lease(id: string): Promise<Reserved> {
    return (await this.api.get<Reserved>(`/environment-leases/${id}`)).body;
  }

  /** Most leases that ever held the environment at once. */
  async mostAtOnce(): Promise<number> {
    const [{ most }] = await this.app.database.query<{ most: number }>(
      `select max(together)::integer as most from (select count(*) as together from environment_leases a
         join environment_leases b on b.environment_id = a.environment_id and b.acquired_at <= a.acquired_at
           and a.acquired_at < coalesce(b.held_until, 'infinity')
         where a.environment_id = $1 group by a.id) at_each_start`,
      [this.environmentId],
    );
    return most;
  }
}
