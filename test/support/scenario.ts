import { ApiClient } from './api-client.js';
import { eventually } from './eventually.js';

export interface Run {
  id: string;
  agentId: string;
  status: string;
  error: string | null;
  errorCode: string | null;
  exitCode: number | null;
  signal: string | null;
  retryOfRunId: string | null;
  wakeStatus?: string;
  contextSnapshot: { paperclipEnvironment?: { id: string; name: string; driver: string; leaseId: string } } & Record<
    string,
    unknown
  >;
}

export interface Lease {
  id: string;
  status: string;
  environmentId: string;
  heartbeatRunId: string | null;
  fencingToken: number;
  acquiredAt: string;
  releasedAt: string | null;
  expiresAt: string;
  failureReason: string | null;
  placeId: string | null;
  slot: number | null;
  heldUntil: string | null;
  cleanupStatus: string | null;
  cleanupAttempts: number;
}

export interface ActivityEntry {
  action: string;
  actorType: string;
  actorId: string;
  entityId: string;
  runId: string | null;
  details: Record<string, unknown>;
}

const ENDED = ['succeeded', 'failed', 'cancelled', 'timed_out'];

/** What a user does with Berth, in few words, over HTTP. */
export class Scenario {
  readonly api: ApiClient;

  /** @param key of the operator, where one is needed. */
  constructor(url: string, key?: string) {
    const anybody = new ApiClient(url);
    this.api = key === undefined ? anybody : anybody.as(key);
  }

  async company(fields: object = {}): Promise<string> {
    return (await this.created('/companies', { name: 'Harbour', ...fields })).id;
  }

  /** An agent that runs a line of shell, or whatever `fields` say. */
  async agent(companyId: string, script: string, fields: { adapterConfig?: object; [name: string]: unknown } = {}) {
    const adapterConfig = { command: 'sh', args: ['-c', script], graceSec: 1, ...fields.adapterConfig };
    return (await this.created(`/companies/${companyId}/agents`, { name: 'deckhand', ...fields, adapterConfig })).id;
  }

  async issue(companyId: string, fields: object = {}): Promise<string> {
    return (await this.created(`/companies/${companyId}/issues`, { title: 'Fix the anchor', ...fields })).id;
  }

  async wake(agentId: string, body: object = {}): Promise<Run> {
    const { status, body: run } = await this.api.post<Run>(`/agents/${agentId}/wakeup`, body);
    if (status !== 202) throw new Error(`The wake was answered ${status}: ${JSON.stringify(run)}`);
    return run;
  }

  async run(runId: string): Promise<Run> {
    return (await this.api.get<Run>(`/heartbeat-runs/${runId}`)).body;
  }

  /** Waits until the run has ended. */
  ended(runId: string, withinMs?: number): Promise<Run> {
    return this.reached(runId, ENDED, withinMs);
  }

  /** Waits until the run has one of the statuses. */
  reached(runId: string, statuses: string[], withinMs?: number): Promise<Run> {
    return eventually(
      () => this.run(runId),
      ({ status }) => statuses.includes(status),
      withinMs,
    );
  }

  async leases(runId: string): Promise<Lease[]> {
    return (await this.api.get<Lease[]>(`/heartbeat-runs/${runId}/leases`)).body;
  }

  /** What the record says of a run, oldest first. */
  async actions(companyId: string, runId: string): Promise<string[]> {
    const path = `/companies/${companyId}/activity?runId=${runId}`;
    return (await this.api.get<ActivityEntry[]>(path)).body.map(({ action }) => action).reverse();
  }

  /** Everything that the run wrote, as plain text. @param of which stream; of all, in the order in which it came, unless given. */
  async log(runId: string, of?: 'stdout' | 'stderr'): Promise<string> {
    const { body } = await this.api.get<{ content: string }>(`/heartbeat-runs/${runId}/log`);
    const lines = body.content.split('\n').filter((line) => line !== '');
    const said = lines.map((line) => JSON.parse(line) as { stream: string; chunk: string });
    return said
      .filter(({ stream }) => of === undefined || stream === of)
      .map(({ chunk }) => chunk)
      .join('');
  }

  private async created(path: string, body: object): Promise<{ id: string }> {
    const answer = await this.api.post<{ id: string }>(path, body);
    if (answer.status !== 201) throw new Error(`${path} was answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  }
}
