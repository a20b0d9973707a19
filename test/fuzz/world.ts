import { newId } from '../../src/database/id.js';
import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import type { RunOutcome } from '../../src/heartbeat/runs/run-outcome.js';
import { SettlePlaces } from '../../src/leases/places/settle-places.js';
import { ApiClient } from '../support/api-client.js';
import { outcome, Steps } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

/** Whoever asks, and which server: the one that takes whoever shows nothing for its operator, or the one that does not. */
export interface FuzzCaller {
  readonly authenticated: boolean;
  readonly headers: Readonly<Record<string, string>>;
}

interface Key {
  readonly id: string;
  readonly token: string;
}

/** What there is of everything: a company at work, and another one that it is not to touch. */
interface Things {
  readonly companyId: string;
  readonly issueIdentifier: string;
  readonly keyToken: string;
  /** For everything, for one company, each also to read only; and one that nobody uses. */
  readonly operatorKeys: readonly Key[];
  readonly run: ClaimedRun;
  /** By the name of what they are called in paths and bodies. */
  readonly ids: Readonly<Record<string, readonly string[]>>;
  readonly fencingToken: number;
}

/** Quotas that leave room for what the requests to one operation make. */
const ROOM = 500;

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
    const { ids, companyId, operatorKeys, run } = this.things;
    const alive = await this.app.database.query(
      `select 1 from companies c join agents a on a.company_id = c.id join issues i on i.company_id = c.id
         join heartbeat_runs r on r.company_id = c.id join environment_leases l on l.company_id = c.id
         join environments e on e.company_id = c.id join secrets s on s.company_id = c.id
         join environment_places p on p.company_id = c.id join environment_places q on q.company_id = c.id
       where c.id = $1 and c.status = 'active'
         and least(c.max_agents, c.max_environments, c.max_queued_runs) >= ${ROOM}
         and a.id = $2 and a.status not in ('paused', 'terminated') and a.deleted_at is null
         and i.id = $3 and i.status not in ('done', 'cancelled') and i.deleted_at is null and r.id = $4 and r.status = 'running'
         and l.id = $5 and l.status = 'active' and e.id = $6 and e.status = 'active'
         and s.id = $7 and s.deleted_at is null and p.id = $8 and p.state = 'retained' and q.id = $9 and q.state = 'cleaning'
         and exists (select 1 from issues idle where id = $12 and deleted_at is null and live_run_of_issue(id) is null)
         and (select array_agg(company_id order by company_id) from environments
              where company_id = any($11) and deleted_at is null) = $11[1:2]
         and not exists (select 1 from agent_api_keys where company_id = c.id and revoked_at is not null)
         and not exists (select 1 from operator_keys where id = any($10) and revoked_at is not null)`,
      [
        ...[companyId, ids.agentId[0], ids.issueId[0], run.id, ids.leaseId[0], ids.environmentId[0]],
        ...[ids.secretId[0], ids.placeId[0], ids.placeId[1], operatorKeys.map(({ id }) => id), ids.companyId],
        ids.issueId[1],
      ],
    );
    if (alive.length === 0) this.things = await this.make();
  }

  /** Whoever may ask: the operator mostly, others by their keys, an agent by its key, a run by its token. */
  callers(): FuzzCaller[] {
    const { keyToken, operatorKeys, run } = this.things;
    const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
    const onBehalf = { ...bearer(run.token), 'x-paperclip-run-id': run.id };
    const agents = [keyToken, run.token].map(bearer);
    const trusted = [...Array<object>(8).fill({}), ...agents, onBehalf];
    const authenticated = [{}, ...operatorKeys.map(({ token }) => bearer(token)), ...agents];
    return [
      ...trusted.map((headers) => ({ authenticated: false, headers })),
      ...authenticated.map((headers) => ({ authenticated: true, headers })),
    ];
  }

  /** What a part of a path can be called: ours, others', and nothing's. */
  named(name: string, path: string): string[] {
    const kind = ['id', 'ref', 'idOrIdentifier'].includes(name) ? kindOf(path) : keyOf(name, path);
    const known = this.things.ids[kind] ?? [];
    const mostlyOurs = [...ours(known), ...known];
    const spelt = name === 'idOrIdentifier' ? [this.things.issueIdentifier] : known.map((id) => id.toUpperCase());
    return [...mostlyOurs, ...spelt, ...(name === 'host' ? ['host-1'] : []), newId()];
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
    if (kind === 'action') return ['custom.deployed', 'custom.noted', 'heartbeat.queued'];
    if (kind === 'driver') return ['local', 'local', 'ssh'];
    if (kind === 'adapterType') return ['process', 'http'];
    if (kind === 'adapterConfig') return [...ADAPTER_CONFIGS, { command: 'true', env: this.secretVariables() }];
    if (kind === 'cwd') return ['/srv/a', '/srv/b/'];
    if (kind === 'companyIds') return [this.things.ids.companyId, this.things.ids.companyId.slice(0, 1)];
    if (kind === 'envVars') return [{}, { A: 'b' }, this.secretVariables()];
    if (kind === 'expectedStatuses') return [['todo'], ['backlog', 'todo'], []];
    const known = this.things.ids[kind] ?? [];
    return [...ours(known), ...known];
  }

  private payloads(): object[] {
    const { ids, issueIdentifier } = this.things;
    const [issueId] = ids.issueId;
    return [{}, { issueId }, { issueId: issueIdentifier, commentId: ids.commentId[0] }, { taskKey: 'a task' }];
  }

  private secretVariables(): object {
    return { TOKEN: { secretRef: this.things.ids.secretId[0] } };
  }

  private async make(): Promise<Things> {
    // What earlier things left queued would be started instead.
    await this.app.database.query(
      `update heartbeat_runs set due_at = now() + interval '1 year' where status = 'queued'`,
    );
    const companyId = await this.made('/companies', { name: 'Harbour' });
    const otherCompany = await this.made('/companies', { name: 'Elsewhere' });
    const emptyCompany = await this.made('/companies', { name: 'Nothing there' });
    const of = (company: string, what: string, body: object) => this.made(`/companies/${company}/${what}`, body);
    const agentId = await of(companyId, 'agents', { name: 'deckhand', adapterConfig: { command: 'true' } });
    const otherAgent = await of(otherCompany, 'agents', { name: 'stranger' });
    const environmentId = await of(companyId, 'environments', {
      name: 'Local',
      driver: 'local',
      config: { directory: 'per_lease' },
      leasePolicy: 'retain_on_failure',
    });
    const otherEnvironment = await of(otherCompany, 'environments', { name: 'Local', driver: 'local' });
    const workspace = { environmentId, name: 'checkout', cwd: '/srv/checkout' };
    const executionWorkspaceId = await of(companyId, 'execution-workspaces', workspace);
    const issueId = await of(companyId, 'issues', { title: 'Fix the anchor' });
    const idleIssue = await of(companyId, 'issues', { title: 'Nobody works on it' });
    const otherIssue = await of(otherCompany, 'issues', { title: 'Not theirs' });
    const commentId = await this.made(`/issues/${issueId}/comments`, { body: 'Aye' });
    const secretId = await of(companyId, 'secrets', { name: 'token', value: 'correct horse battery' });
    const otherSecret = await of(otherCompany, 'secrets', { name: 'token', value: 'not theirs to know' });
    const key = await this.key(`/agents/${agentId}/keys`);
    const operatorKeys = [];
    for (const fields of [
      {},
      { readOnly: true },
      { companyIds: [companyId] },
      { companyIds: [companyId], readOnly: true },
      {},
    ])
      operatorKeys.push(await this.key('/board-api-keys', fields));
    const retained = await this.left(agentId, outcome.failed());
    const cleaning = await this.left(agentId, outcome.succeeded());
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
      operatorKeys,
      run,
      fencingToken: Number(lease.fencing_token),
      ids: {
        // Only where there is no `Local` can an environment be made.
        companyId: [companyId, otherCompany, emptyCompany, emptyCompany],
        agentId: [agentId, otherAgent],
        environmentId: [environmentId, otherEnvironment],
        executionWorkspaceId: [executionWorkspaceId],
        issueId: [issueId, idleIssue, otherIssue],
        commentId: [commentId],
        afterCommentId: [commentId],
        keyId: [key.id],
        operatorKeyId: operatorKeys.slice(-1).map(({ id }) => id),
        secretId: [secretId, otherSecret],
        runId: [run.id],
        leaseId: [reserved, run.lease.id],
        placeId: [retained, cleaning, ...(run.place ? [run.place.id] : [])],
      },
    };
  }

  /** The place of a run that ended like this. */
  private async left(agentId: string, how: RunOutcome): Promise<string> {
    await this.operator.post(`/agents/${agentId}/wakeup`, { payload: { taskKey: newId() } });
    const steps = new Steps(this.app);
    const run = await steps.started();
    const { id, facts } = run.place!;
    await this.app.get(SettlePlaces).ready(id, run.lease, facts.directory as string);
    await steps.end(run, how);
    return id;
  }

  private async key(path: string, fields: object = {}): Promise<Key> {
    return (await this.operator.post<Key>(path, { name: 'k', ...fields })).body;
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

/** Keys of agents and of operators are called the same in paths. */
const keyOf = (name: string, path: string) => (name === 'keyId' && !path.includes('/agents/') ? 'operatorKeyId' : name);

/** The first of its kind, several times: most requests are about what the company at work has. */
const ours = (known: readonly string[]) => known.slice(0, 1).flatMap((id) => [id, id, id]);

/** What `id` stands for, by the path that it is part of. */
function kindOf(path: string): string {
  const kinds: Record<string, string> = {
    '/agents/': 'agentId',
    '/environments/': 'environmentId',
    '/issues/': 'issueId',
    '/secrets/': 'secretId',
    '-workspaces/': 'executionWorkspaceId',
    '-places/': 'placeId',
  };
  return Object.entries(kinds).find(([part]) => path.includes(part))?.[1] ?? '';
}
