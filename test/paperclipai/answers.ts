import type { Names } from './names.js';

/** A command, and what it answers. */
type Line = [command: string, expected: (names: Names) => unknown];

const id: unknown = expect.any(String);
const includes = (entry: object): unknown => expect.arrayContaining([expect.objectContaining(entry)]);

/** Commands that end well, and the fields that matter of what they answer with `--json`. */
export const ANSWERS: Line[] = [
  ['health', () => ({ status: 'ok', version: id })],
  ['openapi', () => ({ openapi: id, paths: { '/api/heartbeat-runs/{runId}/log': {} } })],
  ['whoami', () => ({ userId: id, user: { id }, isInstanceAdmin: true })],
  ['auth whoami', () => ({ userId: id })],
  ['access whoami', () => ({ userId: id })],

  ['company list', ({ company }) => includes({ id: company, name: 'Harbour', status: 'active', issuePrefix: 'HAR' })],
  ['company get {company}', ({ company }) => ({ id: company })],
  ['company current -C {company}', ({ company }) => ({ id: company })],
  [
    `company create --payload-json '{"name":"Second quay","budgetMonthlyCents":0,"requireBoardApprovalForNewAgents":false}'`,
    () => ({ id, name: 'Second quay', issuePrefix: id }),
  ],
  [`company update {company} --payload-json '{"description":"Where ships rest"}'`, () => ({ name: 'Harbour' })],

  ['agent list -C {company}', ({ agent }) => includes({ id: agent, name: 'deckhand', role: 'general' })],
  ['agent get {agent}', ({ agent, company }) => ({ id: agent, companyId: company, adapterType: 'process' })],
  [
    `agent create -C {company} --payload-json '{"name":"bosun","role":"engineer","title":"Bosun","icon":"wrench",` +
      `"reportsTo":null,"capabilities":"knots","permissions":{},"budgetMonthlyCents":500,"adapterConfig":` +
      `{"command":"true","env":{"A":"a","B":{"type":"plain","value":"b"}}},"metadata":{"deck":2}}'`,
    () => ({
      id,
      name: 'bosun',
      title: 'Bosun',
      status: 'idle',
      adapterConfig: { command: 'true' },
      metadata: { deck: 2 },
    }),
  ],
  [
    `agent update {agent} --payload-json '{"title":"First hand","adapterConfig":{"timeoutSec":9},"spentMonthlyCents":1}'`,
    () => ({ title: 'First hand', adapterConfig: { command: 'sh', timeoutSec: 9 } }),
  ],
  [
    `agent update {spare} --payload-json '{"adapterConfig":{"command":"true"},"replaceAdapterConfig":true}'`,
    () => ({ adapterConfig: { command: 'true' } }),
  ],
  ['agent runtime-state {agent}', ({ agent }) => ({ agentId: agent })],
  ['agent heartbeat:invoke {agent}', ({ agent }) => ({ id, agentId: agent, invocationSource: 'on_demand' })],
  [
    `agent wake {agent} --source automation --trigger callback --reason 'high tide' --payload '{"tide":"high"}' --idempotency-key tide-1 --force-fresh-session`,
    () => ({
      id,
      invocationSource: 'automation',
      triggerDetail: 'callback',
      contextSnapshot: { wakeReason: 'high tide' },
    }),
  ],
  ['agent wake deckhand -C {company}', ({ agent }) => ({ agentId: agent })],
  [
    `agent wake {agent} --payload '{"issueId":"{issue}"}' --reason 'look at it'`,
    ({ issue }) => ({ issueId: issue, status: 'queued' }),
  ],
  ['agent pause {spare}', () => ({ status: 'paused', pausedAt: id })],
  ['agent resume {spare}', () => ({ status: 'idle', pausedAt: null })],
  ['agent terminate {spare}', () => ({ status: 'terminated' })],
  ['agent delete {spare} --yes', () => null],
  [
    'agent local-cli deckhand -C {company} --no-install-skills',
    ({ agent }) => ({ agent: { id: agent }, key: { id, token: id } }),
  ],
  [
    `board prompt --agent deckhand -C {company} 'polish the bell'`,
    ({ agent }) => ({ issue: { title: 'polish the bell', assigneeAgentId: agent }, wakeup: { id } }),
  ],

  ['secrets list -C {company}', ({ secret }) => includes({ id: secret, name: 'winch', latestVersion: 1 })],
  [
    `secrets create -C {company} --name chart --key chart --provider local_encrypted --value here-be-dragons`,
    () => ({ id, name: 'chart', provider: 'local_encrypted', status: 'active', managedMode: 'paperclip_managed' }),
  ],
  ['secrets rotate {secret} --value ahoy-ahoy', () => ({ name: 'winch', latestVersion: 2 })],
  [
    `agent update {agent} --payload-json '{"adapterConfig":{"env":{"CHART":{"type":"secret_ref","secretId":"{secret}"},"API_KEY":"plain-key"}}}'`,
    ({ secret }) => ({ adapterConfig: { env: { CHART: { type: 'secret_ref', secretId: secret } } } }),
  ],
  ['secrets migrate-inline-env -C {company} --apply', () => ({ createdSecrets: 1, updatedAgents: 1 })],
  ['agent get {agent}', () => ({ adapterConfig: { env: { API_KEY: { type: 'secret_ref', secretId: id } } } })],
  [`agent update {agent} --payload-json '{"adapterConfig":{"env":{}}}'`, () => ({ adapterConfig: { env: {} } })],
  ['secrets delete {secret} --yes --confirm {secret}', () => null],

  [
    'token agent create -C {company} --agent {agent} --name pass',
    ({ agent }) => ({ agentId: agent, key: { id, name: 'pass', token: id, createdAt: id } }),
  ],
  ['token agent create -C {company} --agent deckhand --name by-name', ({ agent }) => ({ agentId: agent })],
  ['token agent list -C {company} --agent {agent}', ({ key }) => ({ keys: includes({ id: key, revokedAt: null }) })],
  ['token agent revoke {key} -C {company} --agent {agent}', () => expect.anything()],

  ['environment list -C {company}', ({ environment }) => includes({ id: environment, driver: 'local', name: 'Local' })],
  ['environment capabilities -C {company}', () => ({ drivers: includes({ driver: 'local' }) })],
  [
    `environment probe-config -C {company} --payload-json '{"name":"Trial","driver":"local"}'`,
    () => ({ ok: true, driver: 'local' }),
  ],
  ['environment get {environment}', ({ environment }) => ({ id: environment, status: 'active', config: {} })],
  [
    `environment update {environment} --payload-json '{"description":"Here","envVars":{"BERTH":"7"}}'`,
    () => ({ description: 'Here', envVars: { BERTH: '7' } }),
  ],
  ['environment probe {environment}', () => ({ ok: true, driver: 'local', summary: id })],
  ['environment leases {environment}', ({ lease, run }) => includes({ id: lease, heartbeatRunId: run })],
  ['environment lease {lease}', ({ lease }) => ({ id: lease, status: 'released', failureReason: null })],

  ['run list -C {company}', ({ run, agent }) => includes({ id: run, agentId: agent, status: 'succeeded' })],
  ['run list -C {company} --agent-id {spare}', () => []],
  ['run live -C {company} --limit 5 --min-count 1', () => expect.arrayContaining([expect.anything()])],
  [
    'run get {run}',
    ({ run, lease }) => ({ id: run, exitCode: 0, contextSnapshot: { paperclipEnvironment: { leaseId: lease } } }),
  ],
  ['run events {run}', ({ run }) => includes({ runId: run, eventType: 'heartbeat.run.status', message: 'succeeded' })],
  ['run events {run} --after-seq 0 --limit 1', () => [{ payload: { status: 'queued' } }]],
  ['run log {run}', () => ({ store: 'database', content: expect.stringContaining('ahoy'), nextOffset: 5 })],
  ['run log {run} --offset 5 --limit-bytes 100', () => ({ content: '', nextOffset: 5 })],
  [
    'run issues {run}',
    ({ issue }) => [{ id: issue, identifier: 'HAR-1', title: 'Fix the anchor', runStatus: 'succeeded' }],
  ],
  ['run cancel {run}', () => ({ status: 'succeeded' })],

  ['issue list -C {company}', ({ issue }) => includes({ id: issue, identifier: 'HAR-1' })],
  [
    'issue list -C {company} --status todo,backlog --project-id {nobody} --match anchor',
    ({ issue }) => [{ id: issue, priority: 'medium', assigneeAgentId: null }],
  ],
  ['issue list -C {company} --assignee-agent-id {spare}', () => []],
  ['issue get HAR-1', ({ issue }) => ({ id: issue })],
  ['issue get {issue}', () => ({ identifier: 'HAR-1' })],
  [
    `issue create -C {company} --title 'Paint it' --description 'twice\\nor thrice' --priority high --assignee-agent-id {agent} --project-id {nobody} --goal-id {nobody} --parent-id {issue} --billing-code b`,
    ({ agent }) => ({ title: 'Paint it', description: 'twice\nor thrice', status: 'todo', assigneeAgentId: agent }),
  ],
  [
    'issue update HAR-1 --status in_review --comment looking --request-depth 1 --hidden-at null',
    () => ({ status: 'in_review', comment: { body: 'looking' } }),
  ],
  ['issue comment {issue} --body done --reopen --resume', ({ issue }) => ({ issueId: issue, authorType: 'user' })],
  ['issue comments HAR-1 --order asc', () => [{ body: 'looking' }, { body: 'done' }]],
  ['issue comments HAR-1 --order desc --limit 1', () => [{ body: 'done' }]],
  ['issue runs HAR-1', ({ run }) => includes({ id: run })],
  ['issue live-runs {issue}', () => []],
  ['issue active-run {issue}', () => null],

  ['activity list -C {company}', ({ company }) => includes({ companyId: company, actorType: 'user' })],
  [
    'activity list -C {company} --agent-id {agent} --entity-type heartbeat_run --entity-id {run}',
    ({ run }) => includes({ action: 'heartbeat.succeeded', entityId: run, actorType: 'system' }),
  ],
  [
    `activity create -C {company} --payload-json '{"action":"custom.docked","entityType":"issue","entityId":"{issue}","details":{"pier":3}}'`,
    ({ issue }) => ({ action: 'custom.docked', entityId: issue, actorType: 'user', details: { pier: 3 } }),
  ],
  ['activity issue {issue}', ({ issue }) => includes({ action: 'issue.created', entityId: issue })],
  [
    'issue checkout {issue} --agent-id {agent} --expected-statuses in_review',
    ({ issue, agent }) => ({ id: issue, status: 'in_progress', assigneeAgentId: agent }),
  ],
  ['issue release {issue}', ({ issue }) => ({ id: issue, status: 'todo' })],
  ['issue delete {issue} --yes', () => null],

  ['workspace list -C {company}', ({ workspace }) => [{ id: workspace, mode: 'exclusive' }]],
  ['workspace get {workspace}', ({ environment }) => ({ environmentId: environment, name: 'slip' })],
  [`workspace update {workspace} --payload-json '{"name":"dry dock"}'`, () => ({ name: 'dry dock' })],
];
