import { Client } from 'pg';
import { v7 } from 'uuid';
import type { TestDatabase } from './test-database.js';

const DAY_MS = 24 * 60 * 60 * 1000;
const MINUTE_MS = 60_000;

/** Of somebody who works in the past: a company, its agents, an environment, and an issue. */
interface Where {
  readonly companyId: string;
  readonly environmentId: string;
}

interface PastRun {
  readonly id: string;
  readonly leaseId: string;
  readonly wakeId: string;
}

interface RunOptions {
  readonly agentId: string;
  /** When it ended, in days before now. */
  readonly endedDaysAgo: number;
  /** When it was made, in days before now: a minute before it ended unless given. */
  readonly madeDaysAgo?: number;
  /** When it started, in days before now: half a minute before it ended unless given. */
  readonly startedDaysAgo?: number;
  readonly retryOf?: string;
  readonly place?: string | null;
  /** How many pieces of output it left. */
  readonly chunks?: number;
}

/** Makes what Berth would have left behind long ago: rows with the ids and times of then, and their entries in the record. */
export class Past {
  private constructor(
    private readonly client: Client,
    private readonly where: Where,
  ) {}

  static async of(database: TestDatabase, where: Where): Promise<Past> {
    const client = new Client(database.url);
    await client.connect();
    return new Past(client, where);
  }

  close(): Promise<void> {
    return this.client.end();
  }

  static ago(days: number): Date {
    return new Date(Date.now() - days * DAY_MS);
  }

  static idOf(days: number): string {
    return v7({ msecs: Past.ago(days).getTime() });
  }

  /** A run that succeeded, with a wake that joined it and its lease. */
  async run({ agentId, endedDaysAgo, retryOf, place = null, chunks = 0, ...when }: RunOptions): Promise<PastRun> {
    const ended = Past.ago(endedDaysAgo);
    const before = (days: number | undefined, ms: number) =>
      days === undefined ? new Date(ended.getTime() - ms) : Past.ago(days);
    const made = before(when.madeDaysAgo, MINUTE_MS);
    const started = before(when.startedDaysAgo, MINUTE_MS / 2);
    const [id, wakeId] = [v7({ msecs: made.getTime() }), v7({ msecs: made.getTime() })];
    const leaseId = v7({ msecs: started.getTime() });
    await this.client.query(
      `with wake as (
         insert into agent_wakeup_requests (id, company_id, agent_id, run_id, source, status, requested_by_actor_type,
           requested_by_actor_id, created_at, finished_at)
         values ($1, $2, $3, $4, 'on_demand', 'coalesced', 'user', 'u', $5, $7)),
       run as (
         insert into heartbeat_runs (id, company_id, agent_id, wakeup_request_id, invocation_source, status, lease_id,
           runner_id, created_at, started_at, finished_at, retry_of_run_id, log_bytes)
         values ($4, $2, $3, $1, 'on_demand', 'succeeded', $8, 'r', $5, $6, $7, $10, $11::integer * 4)),
       chunk as (
         insert into heartbeat_run_log_chunks (run_id, stream_offset, stream, written_at, content)
         select $4, n * 4, 'stdout', $6, 'ahoy' from generate_series(0, $11::integer - 1) n)
       insert into environment_leases (id, company_id, environment_id, heartbeat_run_id, run_lease_id, holder, status,
         provider, place_id, acquired_at, last_used_at, expires_at, lifetime_ends_at, released_at, held_until)
       values ($8, $2, $9, $4, $8, 'run', 'released', 'local', $12, $6, $7, $7::timestamptz + interval '1 minute',
         'infinity', $7, $7)`,
      [
        ...[wakeId, this.where.companyId, agentId, id, made, started, ended, leaseId, this.where.environmentId],
        ...[retryOf ?? null, chunks, place],
      ],
    );
    await this.entry('heartbeat.invoked', 'heartbeat_run', id, id, made);
    await this.entry('environment.lease_acquired', 'environment_lease', leaseId, id, started);
    await this.entry('heartbeat.started', 'heartbeat_run', id, id, started);
    await this.entry('heartbeat.succeeded', 'heartbeat_run', id, id, ended);
    await this.entry('environment.lease_released', 'environment_lease', leaseId, id, ended);
    return { id, leaseId, wakeId };
  }

  /** A reservation that was released. */
  async reservation(endedDaysAgo: number, place: string | null = null): Promise<string> {
    const ended = Past.ago(endedDaysAgo);
    const acquired = new Date(ended.getTime() - MINUTE_MS);
    const id = v7({ msecs: acquired.getTime() });
    await this.client.query(
      `insert into environment_leases (id, company_id, environment_id, holder, status, provider, place_id, acquired_at,
         last_used_at, expires_at, lifetime_ends_at, released_at, held_until)
       values ($1, $2, $3, 'somebody', 'released', 'local', $6, $4, $5, $5::timestamptz + interval '1 minute', 'infinity',
         $5, $5)`,
      [id, this.where.companyId, this.where.environmentId, acquired, ended, place],
    );
    await this.entry('environment.lease_acquired', 'environment_lease', id, null, acquired);
    await this.entry('environment.lease_released', 'environment_lease', id, null, ended);
    return id;
  }

  /** A wake that came to nothing, or (without an end) waits still. */
  async wake(agentId: string, endedDaysAgo: number, status = 'cancelled'): Promise<string> {
    const at = Past.ago(endedDaysAgo);
    const id = v7({ msecs: at.getTime() });
    await this.client.query(
      `insert into agent_wakeup_requests (id, company_id, agent_id, source, status, status_reason, requested_by_actor_type,
         requested_by_actor_id, created_at, finished_at)
       values ($1, $2, $3, 'on_demand', $4, $1::uuid::text, 'user', 'u', $5,
         case when $4 in ('cancelled', 'skipped') then $5::timestamptz end)`,
      [id, this.where.companyId, agentId, status, at],
    );
    return id;
  }

  /** Rows that name each other, in one transaction: in which the place is made last. */
  async withPlace(daysAgo: number, hold: (placeId: string) => Promise<string>): Promise<string> {
    const id = Past.idOf(daysAgo);
    // Checked at commit; each statement here is one.
    await this.client.query('alter table environment_leases disable trigger all');
    const leaseId = await hold(id);
    await this.client.query('alter table environment_leases enable trigger all');
    const at = Past.ago(daysAgo);
    await this.client.query(
      `insert into environment_places (id, company_id, environment_id, lease_id, state, driver, config_fingerprint, facts,
         realise_deadline_at, gone_at)
       values ($1, $2, $3, $4, 'gone', 'local', 'f', '{"directory": "/tmp"}', $5, $5)`,
      [id, this.where.companyId, this.where.environmentId, leaseId, at],
    );
    await this.entry('environment.place_gone', 'environment_place', id, null, at, { state: 'gone' });
    return id;
  }

  entry(
    action: string,
    type: string,
    id: string,
    runId: string | null,
    at: Date,
    details: object = {},
  ): Promise<unknown> {
    return this.client.query(
      `insert into activity_rows (id, company_id, actor_type, actor_id, action, entity_type, entity_id, run_id, created_at,
         details)
       values ($1, $2, 'system', 'test', $3, $4, $5, $6, $7, $8)`,
      [v7({ msecs: at.getTime() }), this.where.companyId, action, type, id, runId, at, details],
    );
  }
}
