import { Client } from 'pg';
import { DIMENSIONS, FUNCTIONS, HISTORY, LIVE } from './data-at-size.sql.ts';

/** How much is to be made. All of it is spread over 20 companies, of which the first has four fifths. */
export interface DataSize {
  /** Runs that have ended, a multiple of ten: each with its wake, its lease and five entries of the record. */
  readonly runs: number;
  /** Runs that are running, at most one an agent: more than 20, at most 580. */
  readonly live: number;
  /**
   * Runs that wait: half of them for agents at their cap, half for an environment at its capacity. As many wakes wait for
   * issues that are busy.
   */
  readonly waiting: number;
}

/** What somebody who asks about the data has to name. */
export interface DataNames {
  /** The one that has most of everything. */
  readonly companyId: string;
  /** An agent, an issue, an environment without and one with capacity, a workspace and a secret of that company. */
  readonly agentId: string;
  readonly issueId: string;
  readonly environmentId: string;
  readonly cappedEnvironmentId: string;
  readonly workspaceId: string;
  readonly secretId: string;
  readonly placeId: string;
  /** One of its last runs, which has ended, and the lease of that. */
  readonly runId: string;
  readonly leaseId: string;
  /** A moment in the middle of the history. */
  readonly middle: string;
}

export interface LoadOptions {
  /**
   * Has PostgreSQL check every foreign key. Otherwise they are left out, because a row is checked in the time of three
   * inserts: that what is made is consistent can be seen at any size, and a test sees it at a small one.
   */
  readonly checked: boolean;
  /** How long after one run the next one was made, in milliseconds; a million runs take three months unless given. */
  readonly stepMs?: number;
  /** Connections that load at once. */
  readonly connections?: number;
  readonly onProgress?: (runs: number) => void;
}

/** What a history fills. */
const HISTORIES = ['agent_wakeup_requests', 'heartbeat_runs', 'environment_leases', 'activity_log'];
/** Of pages of runs, in percent: a run grows to five times the size in which it is made. */
const FILLED_AT_FIRST = 15;
const FILLED_IN_THE_END = 75;
/** Runs that one transaction makes. */
const CHUNK = 20_000;
const STEP_MS = 7_776;

/** Fills an empty database with a history as Berth would have left it, made by set-based statements. */
export async function loadData(databaseUrl: string, size: DataSize, options: LoadOptions): Promise<DataNames> {
  const first = await connect(databaseUrl, options);
  const others: Client[] = [];
  try {
    const frame = await frameOf(first, size, options.stepMs ?? STEP_MS);
    for (const statement of FUNCTIONS(frame)) await first.query(statement);
    await inTransaction(first, DIMENSIONS(frame));
    for (let count = 1; count < (options.connections ?? 1); count++) {
      const other = await connect(databaseUrl, options);
      others.push(other);
      for (const statement of FUNCTIONS(frame)) await other.query(statement);
    }
    const indexes = options.checked ? [] : await takeIndexesAway(first);
    await first.query(`alter table heartbeat_runs set (fillfactor = ${FILLED_IN_THE_END})`);
    let next = 0;
    const work = async (client: Client) => {
      for (let from = next; from < size.runs; from = next) {
        next = Math.min(from + CHUNK, size.runs);
        await inTransaction(client, HISTORY(from, next));
        options.onProgress?.(next);
      }
    };
    const clients = [first, ...others];
    await Promise.all(clients.map(work));
    const create = async (client: Client) => {
      for (let index = indexes.shift(); index; index = indexes.shift()) await client.query(index);
    };
    await Promise.all(clients.map(create));
    await first.query(`alter table heartbeat_runs set (fillfactor = ${FILLED_AT_FIRST})`);
    // What goes on is so little beside what was that statistics hardly know of it: at a small size, too.
    await first.query('vacuum (analyze)');
    await inTransaction(first, LIVE(frame));
    return await namesOf(first, frame);
  } finally {
    await Promise.all([first, ...others].map((client) => client.end()));
  }
}

/** What every statement of one loading is written with. */
export interface Frame extends DataSize {
  /** When the history begins. */
  readonly begun: string;
  readonly stepMs: number;
  /** Issues of the first company, and of each other one. */
  readonly issues: number;
  readonly issuesElsewhere: number;
  /** The next transaction's number: those of the history were before it. */
  readonly nextTransaction: number;
}

async function frameOf(client: Client, size: DataSize, stepMs: number): Promise<Frame> {
  const { rows } = await client.query<{ begun: Date; next: string }>(
    `select date_trunc('second', now()) - interval '1 hour' - make_interval(secs => ${(stepMs / 1000) * size.runs}) as begun,
       pg_snapshot_xmin(pg_current_snapshot())::text as next`,
  );
  return {
    ...size,
    begun: rows[0].begun.toISOString(),
    stepMs,
    issues: Math.max(400, Math.floor(size.runs / 50)),
    issuesElsewhere: Math.max(1, Math.floor(size.runs / 2000)),
    nextTransaction: Number(rows[0].next),
  };
}

async function connect(databaseUrl: string, { checked }: LoadOptions): Promise<Client> {
  const client = new Client(databaseUrl);
  await client.connect();
  await client.query(`set synchronous_commit = off; set maintenance_work_mem = '512MB'`);
  if (!checked) await client.query(`set session_replication_role = replica`);
  return client;
}

/**
 * Drops the indexes that rows are not found by meanwhile: one that is made of what is there takes a fraction of the time
 * that one takes which grows row by row.
 * @returns the statements that make them again.
 */
async function takeIndexesAway(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ drop: string; create: string }>(
    `select format('drop index %s', indexrelid::regclass) as drop, pg_get_indexdef(indexrelid) as create
     from pg_index where indrelid = any($1::regclass[]) and not indisunique and not indisexclusion
     union all
     select format('alter table %s drop constraint %I', conrelid::regclass, conname),
       format('alter table %s add constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
     from pg_constraint where conrelid = any($1::regclass[]) and contype = 'x'`,
    [HISTORIES],
  );
  for (const { drop } of rows) await client.query(drop);
  return rows.map(({ create }) => create);
}

async function inTransaction(client: Client, statements: readonly string[]): Promise<void> {
  await client.query('begin');
  for (const statement of statements) await client.query(statement);
  await client.query('commit');
}

async function namesOf(client: Client, { runs, begun, stepMs }: Frame): Promise<DataNames> {
  const { rows } = await client.query<Omit<DataNames, 'middle'>>(
    `select company_id as "companyId", pg_temp.agent(50) as "agentId", pg_temp.issue(300) as "issueId",
       environment_id as "environmentId", pg_temp.environment(1) as "cappedEnvironmentId",
       pg_temp.workspace(0) as "workspaceId", pg_temp.secret(0) as "secretId", run_id as "runId", lease_id as "leaseId",
       (select place_id from pg_temp.history($1::integer + 3, $1::integer + 4)) as "placeId"
     from pg_temp.history($1::integer, $1::integer + 1)`,
    [runs - 6],
  );
  return { ...rows[0], middle: new Date(Date.parse(begun) + (runs / 2) * stepMs).toISOString() };
}
