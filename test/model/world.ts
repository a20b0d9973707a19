import { Client } from 'pg';
import { v7 } from 'uuid';
import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import { ApiClient } from '../support/api-client.js';
import { Steps } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';
import { INVARIANTS, NOTHING_STRANDS } from './invariants.js';

/** Names that comments can mention, with how many runs each may have at once. */
const AGENTS = { anna: 1, bela: 2, cora: 3 };
export const NAMES = Object.keys(AGENTS);
const COMPANY_CAP = 4;
export const ISSUES = 3;

interface Violation {
  rule: string;
  id: string;
  detail: string;
}

/** What the commands remember of what they did. */
export interface Model {
  /** Runs that somebody executes. */
  executing: ClaimedRun[];
  /** Runs whose executor was declared dead, or beaten to it. */
  lost: ClaimedRun[];
  /** The first wake under an idempotency key, and what it was answered. */
  answers: Map<string, { request: unknown; body: unknown }>;
  /** A finaliser has died since the last dispatch pass. */
  isStranded: boolean;
  /** How runs ended: terminal is final. */
  ended: Map<string, string>;
}

export const emptyModel = (): Model => ({
  executing: [],
  lost: [],
  answers: new Map(),
  isStranded: false,
  ended: new Map(),
});

/** One company with a few agents and issues, alone in its database, and everybody who does something to them. */
export class World {
  readonly api: ApiClient;
  readonly steps: Steps;
  /** Since the start. */
  readonly played = { scenarios: 0, steps: 0 };
  agents: string[] = [];
  issues: string[] = [];

  private constructor(
    app: TestApp,
    private readonly client: Client,
  ) {
    this.api = new ApiClient(app.url);
    this.steps = new Steps(app);
  }

  static async of(app: TestApp): Promise<World> {
    const client = new Client(app.database.url);
    await client.connect();
    return new World(app, client);
  }

  /** Begins anew. */
  async reset(): Promise<void> {
    this.played.scenarios += 1;
    await this.query('truncate companies, activity_rows, idempotency_keys cascade');
    const companyId = v7();
    await this.query(
      `insert into companies (id, name, issue_prefix, max_concurrent_runs) values ($1, 'Harbour', 'BER', $2)`,
      [companyId, COMPANY_CAP],
    );
    this.agents = await this.insert(
      Object.entries(AGENTS),
      `insert into agents (id, company_id, name, adapter_type, adapter_config, runtime_config, next_timer_at)
       select $1, $2, x.name, 'process', '{"command": "true"}', x.config, now() + interval '1 hour'
       from (select $3::jsonb ->> 0 as name, jsonb_build_object('heartbeat', jsonb_build_object('enabled', true,
         'intervalSec', 3600, 'maxConcurrentRuns', $3::jsonb -> 1)) as config) x`,
      companyId,
    );
    this.issues = await this.insert(
      Array.from({ length: ISSUES }, (_, index) => [index + 1, this.agents[index - 1] ?? null]),
      `insert into issues (id, company_id, number, identifier, title, assignee_agent_id)
       values ($1, $2, ($3::jsonb ->> 0)::integer, 'BER-' || ($3::jsonb ->> 0), 'Fix the anchor', ($3::jsonb ->> 1)::uuid)`,
      companyId,
    );
  }

  async query<Row>(sql: string, parameters: unknown[] = []): Promise<Row[]> {
    return (await this.client.query(sql, parameters)).rows as Row[];
  }

  /** As the agent of a run that is being executed, with its token. */
  as(run: ClaimedRun): ApiClient {
    return this.api.as(run.token);
  }

  /** @throws Error that names every rule that does not hold, and where. */
  async check(model: Model): Promise<void> {
    const rules = Object.entries(INVARIANTS);
    if (!model.isStranded) rules.push(['no wake strands', NOTHING_STRANDS]);
    const found = await this.query<Violation>(
      rules.map(([rule, sql]) => `select '${rule}' as rule, * from (${sql}) as x(id, detail)`).join(' union all '),
    );
    for (const { id, status } of await this.query<{ id: string; status: string }>(
      `select id, status from heartbeat_runs where finished_at is not null`,
    )) {
      const before = model.ended.get(id) ?? status;
      if (before !== status) found.push({ rule: 'terminal is final', id, detail: `${before}, then ${status}` });
      model.ended.set(id, before);
    }
    if (found.length > 0) throw new Error(found.map((one) => `${one.rule}: ${one.id} (${one.detail})`).join('\n'));
  }

  close(): Promise<void> {
    return this.client.end();
  }

  private async insert(rows: unknown[], sql: string, companyId: string): Promise<string[]> {
    const ids: string[] = [];
    for (const row of rows) {
      const id = v7();
      await this.query(sql, [id, companyId, JSON.stringify(row)]);
      ids.push(id);
    }
    return ids;
  }
}
