import { newId } from '../../src/database/id.js';
import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import { ApiClient } from '../support/api-client.js';
import { Steps } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

/** What there is of everything: a company at work, and another one that it is not to touch. */
interface Things {
  readonly companyId: string;
  readonly issueIdentifier: string;
  readonly keyToken: string;
  readonly run: ClaimedRun;
  /** By the name of what they are called in paths and bodies. */
  readonly ids: Readonly<Record<string, readonly string[]>>;
  readonly fencingToken: number;
}

/** Knows things that exist, so that requests get past the question whether they do; makes them anew when they are spoilt. */
export class FuzzWorld {
  private readonly operator: ApiClient;
  private things: Things;

  private constructor(private readonly app: TestApp) {
    this.operator = new ApiClient(app.url);
  }

  static async of(app: TestApp): Promise<FuzzWorld> {
    const world = new FuzzWorld(app);
    world.things = await world.make();
    return world;
  }

  /** Makes everything anew unless it is as it was: alive, and at work. */
  async restore(): Promise<void> {
    const { ids, companyId, run } = this.things;
    const alive = await this.app.database.query(
      `select 1 from companies c join agents a on a.company_id = c.id join issues i on i.company_id = c.id
         join heartbeat_runs r on r.company_id = c.id join environment_leases l on l.company_id = c.id
       where c.id = $1 and c.status = 'active' and a.id = $2 and a.status <> 'terminated' and a.deleted_at is null
         and i.id = $3 and i.deleted_at is null and r.id = $4 and r.status = 'running'
         and l.id = $5 and l.status = 'active'`,
      [companyId, ids.agentId[0], ids.issueId[0], run.id, ids.leaseId[0]],
    );
    if (alive.length === 0) this.things = await this.make();
  }

  /** Whoever may ask: the operator mostly, an agent by its key, a run by its token. */
  callers(): Record<string, string>[] {
    const { keyToken, run } = this.things;
    const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
    const onBehalf = { ...bearer(run.token), 'x-paperclip-run-id': run.id };
    return [{}, {}, {}, {}, bearer(keyToken), bearer(run.token), onBehalf];
  }

  /** What a part of a path can be called: ours, others', and nothing's. */
  named(name: string, path: string): string[] {
    const kind = name === 'id' || name === 'ref' || name === 'idOrIdentifier' ? kindOf(path) : name;
    const known = this.things.ids[kind] ?? [];
    const twice = [...known, ...known];
    const spelt = name === 'idOrIdentifier' ? [this.things.issueIdentifier] : known.map((id) => id.toUpperCase());
    return [...twice, ...spelt, ...(name === 'host' ? ['host-1'] : []), newId()];
  }

  /** What a field of this name can hold; nothing where it holds no reference. */
  values(name: string): unknown[] {
    const kind =
      { defaultEnvironmentId: 'environmentId', assigneeAgentId: 'agentId', heartbeatRunId: 'runId' }[name] ?? name;
    if (kind === 'fencingToken') return [this.things.fencingToken, this.things.run.lease.fencingToken, 1];
    // Whoever waits longer is not answered until then.
    if (kind === 'waitSec') return [0];
    if (kind === 'payload') return this.payloads();
    if (kind === 'config') return [{}, { cwd: '/srv' }, { directory: 'per_lease' }];
    if (kind === 'driver') return ['local', 'ssh'];
    if (kind === 'adapterType') return ['process', 'http'];
    if (kind === 'adapterConfig') return ADAPTER_CONFIGS;
    if (kind === 'cwd') return ['/srv/a', '/srv/b/'];
    if (kind === 'expectedStatuses') return [['todo'], ['backlog', 'todo'], []];
    return [...(this.things.ids[kind] ?? [])];
  }

  private payloads(): object[] {
    const { ids, issueIdentifier } = this.things;
    const [issueId] = ids.issueId;
    return [{}, { issueId }, { issueId: issueIdentifier, commentId: ids.commentId[0] }, { taskKey: 'a task' }];
  }

  private async make(): Promise<Things> {
    // What earlier things left queued would be started instead.
    await this.app.database.query(`update heartbeat_runs set due_at = 'infinity' where status = 'queued'`);
    const companyId = await this.made('/companies', { name: 'Harbour' });
    const otherCompany = await this.made('/companies', { name: 'Elsewhere' });
    const of = (company: string, what: string, body: object) => this.made(`/companies/${company}/${what}`, body);
    const agentId = await of(companyId, 'agents', { name: 'deckhand', adapterConfig: { command: 'true' } });
    const otherAgent = await of(otherCompany, 'agents', { name: 'stranger' });
    const environmentId = await of(companyId, 'environments', {
      name: 'Local',
      driver: 'local',
      config: { directory: 'per_lease' },
    });
    const workspace = { environmentId, name: 'checkout', cwd: '/srv/checkout' };
    const executionWorkspaceId = await of(companyId, 'execution-workspaces', workspace);
    const issueId = await of(companyId, 'issues', { title: 'Fix the anchor' });
    const otherIssue = await of(otherCompany, 'issues', { title: 'Not theirs' });
    const commentId = await this.made(`/issues/${issueId}/comments`, { body: 'Aye' });
    const { body: key } = await this.operator.post<{ id: string; token: string }>(`/agents/${agentId}/keys`, {
      name: 'k',
    });
    await this.operator.post(`/agents/${agentId}/wakeup`, { payload: { issueId } });
    const run = await this.started(companyId);
    const reserved = await of(companyId, 'environment-leases', { environmentId, holder: 'backup', ttlSec: 3600 });
    const [lease] = await this.app.database.query<{ fencing_token: string }>(
      'select fencing_token from environment_leases where id = $1',
      [reserved],
    );
    const { body: issue } = await this.operator.get<{ identifier: string }>(`/issues/${issueId}`);
    return {
      companyId,
      issueIdentifier: issue.identifier,
      keyToken: key.token,
      run,
      fencingToken: Number(lease.fencing_token),
      ids: {
        companyId: [companyId, otherCompany],
        agentId: [agentId, otherAgent],
        environmentId: [environmentId],
        executionWorkspaceId: [executionWorkspaceId],
        issueId: [issueId, otherIssue],
        commentId: [commentId],
        afterCommentId: [commentId],
        keyId: [key.id],
        runId: [run.id],
        leaseId: [reserved, run.lease.id],
        placeId: run.place ? [run.place.id] : [],
      },
    };
  }

  private async started(companyId: string): Promise<ClaimedRun> {
    const run = await new Steps(this.app).started();
    if (run.companyId !== companyId) throw new Error('Another run was started');
    return run;
  }

  private async made(path: string, body: object): Promise<string> {
    const answer = await this.operator.post<{ id: string }>(path, body);
    if (answer.status !== 201) throw new Error(`${path} was answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    return answer.body.id;
  }
}

const ADAPTER_CONFIGS = [
  {},
  { command: 'true', args: ['x'], cwd: 'inner', env: { A: 'b' }, timeoutSec: 5 },
  { url: 'http://agent.example/run', headers: { 'x-key': 'k' }, payloadTemplate: { a: 1 } },
  { url: 'http://169.254.169.254/', headers: { 'x-key': 'k\r\nHost: x' } },
  { command: 'true', cwd: '../../etc' },
  { command: 'true', env: { 'A=B': 'c', PATH: '\0' } },
];

/** What `id` stands for, by the path that it is part of. */
function kindOf(path: string): string {
  const kinds: Record<string, string> = {
    '/agents/': 'agentId',
    '/environments/': 'environmentId',
    '/issues/': 'issueId',
    '-workspaces/': 'executionWorkspaceId',
    '-places/': 'placeId',
  };
  return Object.entries(kinds).find(([part]) => path.includes(part))?.[1] ?? '';
}
