import { RunTokens } from '../../src/auth/run-tokens.js';
import { ApiClient } from './api-client.js';
import type { Scenario } from './scenario.js';
import { Steps } from './still-app.js';
import type { TestApp } from './test-app.js';

/** Everything that a path can name, in one company. */
export interface Things {
  readonly companyId: string;
  readonly agentId: string;
  readonly keyId: string;
  readonly environmentId: string;
  readonly workspaceId: string;
  readonly issueId: string;
  /** Of the same issue. */
  readonly identifier: string;
  /** Of the same issue, which has an earlier one. */
  readonly commentId: string;
  /** It is running. */
  readonly runId: string;
  readonly leaseId: string;
  readonly placeId: string;
  readonly secretId: string;
}

/** A company in which there is one of everything. */
export async function makeEverything(app: TestApp, user: Scenario, name: string): Promise<Things> {
  const companyId = await user.company({ name });
  const agentId = await user.agent(companyId, 'true');
  const created = async (path: string, body: object) => (await user.api.post<{ id: string }>(path, body)).body.id;
  const keyId = await created(`/agents/${agentId}/keys`, { name: 'k' });
  const issueId = await user.issue(companyId);
  const { identifier } = (await user.api.get<{ identifier: string }>(`/issues/${issueId}`)).body;
  await created(`/issues/${issueId}/comments`, { body: 'Ahoy' });
  const commentId = await created(`/issues/${issueId}/comments`, { body: 'Aye' });
  await user.wake(agentId);
  const { id: runId, lease, environment } = await new Steps(app).started();
  const environmentId = environment.id;
  const workspace = { name: 'w', environmentId, cwd: '/tmp' };
  const workspaceId = await created(`/companies/${companyId}/execution-workspaces`, workspace);
  const [{ id: placeId }] = await app.database.query<{ id: string }>(
    `insert into environment_places (id, company_id, environment_id, lease_id, state, driver, config_fingerprint, facts,
       realise_deadline_at, gone_at)
     values (gen_random_uuid(), $1, $2, $3, 'gone', 'local', 'f', '{}', now(), now()) returning id`,
    [companyId, environmentId, lease.id],
  );
  const secretId = await created(`/companies/${companyId}/secrets`, { name: 's', value: 'kept from everybody' });
  const things = { companyId, agentId, keyId, environmentId, workspaceId, issueId, identifier, commentId };
  return { ...things, runId, leaseId: lease.id, placeId, secretId };
}

/** What a parameter or field of a path names among these things; a new one has to be said here. */
export function nameOf(things: Things, parameter: string, path: string): string {
  const byPath = [
    ['/agents/', things.agentId],
    ['/environments/', things.environmentId],
    ['/execution-workspaces/', things.workspaceId],
    ['/environment-places/', things.placeId],
    ['/secrets/', things.secretId],
  ] as const;
  const id = byPath.find(([part]) => path.includes(part))?.[1];
  const names: Record<string, string | undefined> = {
    ...{ ...things, id, host: 'no-host', ref: things.agentId, idOrIdentifier: things.identifier },
    ...{ defaultEnvironmentId: things.environmentId, executionWorkspaceId: things.workspaceId },
    ...{ assigneeAgentId: things.agentId, heartbeatRunId: things.runId, afterCommentId: things.commentId },
  };
  const name = names[parameter];
  if (!name) throw new Error(`Say what ${path} names by ${parameter}`);
  return name;
}

/** Callers of each kind, who can see one company. */
export async function callersIn(app: TestApp, user: Scenario, { companyId, agentId, runId }: Things) {
  const tokenOf = async (path: string, fields: object = {}) =>
    (await user.api.post<{ token: string }>(path, { name: 'k', ...fields })).body.token;
  const { token: runToken, hash } = await app.get(RunTokens).mint({ runId, agentId, companyId });
  await app.database.query('update heartbeat_runs set token_hash = $2 where id = $1', [runId, hash]);
  const as = (token: string): ApiClient => user.api.as(token);
  return {
    operator: as(await tokenOf('/board-api-keys', { companyIds: [companyId] })),
    reader: as(await tokenOf('/board-api-keys', { companyIds: [companyId], readOnly: true })),
    agent: as(await tokenOf(`/agents/${agentId}/keys`)),
    run: as(runToken),
  };
}
