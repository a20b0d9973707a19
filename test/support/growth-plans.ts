import { Client } from 'pg';
import type { CapturedStatement } from './captured-statements.js';

/** Tables that get longer the longer Berth is in use. */
export const GROWING = [
  ...['heartbeat_runs', 'environment_leases', 'activity_rows', 'agent_wakeup_requests', 'heartbeat_run_log_chunks'],
  ...['issue_comments', 'environment_places', 'idempotency_keys', 'issues', 'activity_folds', 'secret_versions'],
];
/** How many times as long as it is the planner takes each of them to be. */
const PRETENDED_FACTOR = 500;
/** Most rows of growing tables that one statement may look at: a few pages of a list. */
const MOST_ROWS = 1000;

interface Node {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Index Cond'?: string;
  Filter?: string;
  'Join Filter'?: string;
  'Actual Rows'?: number;
  'Rows Removed by Filter'?: number;
  'Rows Removed by Index Recheck'?: number;
  Plans?: Node[];
}

interface Index {
  readonly first: string;
  readonly partial: boolean;
}

/** Plans statements as PostgreSQL plans them once it has prepared them, for tables that are long. */
export class GrowthPlans {
  private constructor(
    private readonly client: Client,
    private readonly indexes: ReadonlyMap<string, Index>,
  ) {}

  /** The tables have to have been analysed. Nothing else may use the database meanwhile; nothing of this stays. */
  static async on(databaseUrl: string): Promise<GrowthPlans> {
    const client = new Client(databaseUrl);
    await client.connect();
    await client.query('begin');
    await pretend(client);
    // What is written is taken back, and so need not agree with anything.
    await client.query(`set plan_cache_mode = force_generic_plan; set session_replication_role = replica`);
    const { rows } = await client.query<Index & { name: string }>(
      `select c.relname as name, pg_get_indexdef(i.indexrelid, 1, true) as first, i.indpred is not null as partial
       from pg_index i join pg_class c on c.oid = i.indexrelid`,
    );
    return new GrowthPlans(client, new Map(rows.map((index) => [index.name, index])));
  }

  close(): Promise<void> {
    return this.client.end();
  }

  /** What the statement costs more of the longer its tables are; nothing of one whose cost stays. */
  async problemsOf(statement: CapturedStatement): Promise<string[]> {
    const all = nodesOf(await this.explain(statement));
    const nodes = all.filter((node) => node['Relation Name'] === undefined || GROWING.includes(node['Relation Name']));
    const looked = Math.max(0, ...nodes.map(rowsOf));
    return [
      ...all.flatMap((node) => eachWithEach(node) ?? []),
      ...nodes.flatMap((node) => this.wholeOf(node) ?? []),
      ...(looked > MOST_ROWS ? [`looks at ${looked} rows`] : []),
    ];
  }

  /** Meanwhile there is no such index. */
  without(index: string, look: () => Promise<void>): Promise<void> {
    return this.meanwhile(() => this.client.query(`drop index ${index}`), look);
  }

  /** Meanwhile statistics know of everything that there is, as they do once `autovacuum` has come by. */
  analysed(look: () => Promise<void>): Promise<void> {
    return this.meanwhile(() => this.client.query('analyze').then(() => pretend(this.client)), look);
  }

  private async meanwhile(change: () => Promise<unknown>, look: () => Promise<void>): Promise<void> {
    await this.client.query('savepoint before');
    await change();
    await look().finally(() => this.client.query('rollback to before'));
  }

  /** One whose values are refused the second time, like those of an insert, is only planned. */
  private async explain(statement: CapturedStatement): Promise<Node> {
    return this.explained('analyze, timing off, format json', statement).catch(() =>
      this.explained('format json', statement),
    );
  }

  private async explained(options: string, { text, values }: CapturedStatement): Promise<Node> {
    await this.client.query('savepoint untouched');
    try {
      await this.client.query(`prepare captured as ${text}`);
      const list = values.map((value) => literal(this.client, value)).join(', ');
      const { rows } = await this.client.query<{ 'QUERY PLAN': [{ Plan: Node }] }>(
        `explain (${options}) execute captured${list && `(${list})`}`,
      );
      return rows[0]['QUERY PLAN'][0].Plan;
    } finally {
      await this.client.query('rollback to untouched; deallocate all');
    }
  }

  /** Walking along an index from its end is no search: what a filter lets through may be far, or nowhere. */
  private wholeOf(node: Node): string | null {
    if (node['Node Type'] === 'Seq Scan') return `reads all of ${node['Relation Name']}`;
    const index = this.indexes.get(node['Index Name'] ?? '');
    if (!index || index.partial || !node.Filter || (node['Index Cond'] ?? '').includes(index.first)) return null;
    return `walks along all of ${node['Index Name']}`;
  }
}

async function pretend(client: Client): Promise<void> {
  await client.query(
    `update pg_class set reltuples = reltuples * ${PRETENDED_FACTOR}
     where relname = any($1) and relnamespace = 'public'::regnamespace`,
    [GROWING],
  );
}

/** Each time: how often that is, other nodes say. */
function rowsOf(node: Node): number {
  const passedOver = (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Index Recheck'] ?? 0);
  return (node['Actual Rows'] ?? 0) + passedOver;
}

const nodesOf = (node: Node): Node[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)];

function literal(client: Client, value: unknown): string {
  if (value === null || value === undefined) return 'null';
  if (value instanceof Date) return client.escapeLiteral(value.toISOString());
  if (Buffer.isBuffer(value)) return `'\\x${value.toString('hex')}'`;
  if (Array.isArray(value)) return client.escapeLiteral(`{${value.map((one) => JSON.stringify(one)).join(',')}}`);
  return client.escapeLiteral(typeof value === 'string' ? value : JSON.stringify(value));
}

/** A set of a statement's own in which each row of another set is looked for: hash and merge joins are off. */
function eachWithEach(node: Node): string | null {
  const inner = node.Plans?.at(-1)?.['Node Type'];
  if (node['Node Type'] !== 'Nested Loop' || !node['Join Filter']?.includes(' = ')) return null;
  return inner === 'CTE Scan' || inner === 'Function Scan'
    ? `looks through a set for each row: ${node['Join Filter']}`
    : null;
}
