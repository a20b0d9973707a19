import { Client } from 'pg';
import { newId } from '#berth/database/id.js';

/**
 * What Berth writes when it provisions a run, as one statement: run, lease, and the row of the record that tells of both. Left out is
 * what Berth does besides: choosing the run, locking and counting what decides, the wake's and the agent's own rows.
 */
export const PROVISION = `
with run as (
  update heartbeat_runs
  set status = 'running', lease_id = $2, runner_id = $3, token_hash = $4, context_snapshot = $5, placement = $6,
    waiting_reason = null, started_at = clock_timestamp(), updated_at = now(),
    deadline_at = clock_timestamp() + interval '7200 s', idle_timeout_sec = 1800
  where id = $1 and status = 'queued'
  returning id, company_id, agent_id),
lease as (
  insert into environment_leases (id, company_id, environment_id, heartbeat_run_id, run_lease_id, holder, status,
    lease_policy, provider, runner_id, host, ttl_sec, acquired_at, last_used_at, expires_at, lifetime_ends_at)
  select $2, company_id, $7, id, $2, 'run:' || id, 'active', 'ephemeral', 'local', $3, $8, 60, at, at, at + interval '60 s', at + interval '86400 s'
  from run, clock_timestamp() at)
insert into activity_rows (company_id, actor_type, actor_id, action, agent_id, run_id, lease_id, environment_id, driver,
  lease_policy, host)
select company_id, 'system', 'runner:' || $3, 'heartbeat.started', agent_id, id, $2, $7,
  'local', 'ephemeral', $8
from run`;

/** The same of finalising it; fenced by the lease. */
export const FINALISE = `
with run as (
  update heartbeat_runs
  set status = 'succeeded', exit_code = 0, result_json = $4, finished_at = clock_timestamp(), updated_at = now()
  where id = $1 and lease_id = $2 and status = 'running'
  returning id, company_id, agent_id),
lease as (
  update environment_leases l
  set status = 'released', released_at = clock_timestamp(), held_until = clock_timestamp(), updated_at = now()
  from run where l.id = $2 and l.status = 'active')
insert into activity_rows (company_id, actor_type, actor_id, action, agent_id, run_id, lease_id, environment_id, driver,
  lease_policy)
select company_id, 'system', 'runner:' || $3, 'heartbeat.succeeded', agent_id, id, $2, $5, 'local', 'ephemeral' from run`;

/** What a cycle of Berth's wrote, which those of the floor write again: the values that are the same in all of them. */
export interface Template {
  readonly runner: string;
  readonly token: Buffer;
  readonly context: object;
  readonly placement: object;
  readonly result: object;
  readonly environment: string;
  readonly host: string;
}

export async function templateOf(run: string, client: Client): Promise<Template> {
  const { rows } = await client.query<Template>(
    `select r.runner_id as runner, token_hash as token, context_snapshot as context, placement, result_json as result,
       environment_id as environment, host
     from heartbeat_runs r join environment_leases l on l.id = r.lease_id where r.id = $1`,
    [run],
  );
  return rows[0];
}

/** The values of both statements, in the order of their parameters. */
export const valuesOf = (template: Template, run: string, lease: string) => ({
  provision: [
    ...[run, lease, template.runner, template.token, template.context, template.placement],
    ...[template.environment, template.host],
  ],
  finalise: [run, lease, template.runner, template.result, template.environment],
});

/** Clients that send these statements, prepared, and nothing else. */
export class Floor implements AsyncDisposable {
  private readonly clients: readonly Client[];
  private readonly template: Template;

  private constructor(clients: readonly Client[], template: Template) {
    this.clients = clients;
    this.template = template;
  }

  static async connect(url: string, clients: number, template: Template): Promise<Floor> {
    const all = Array.from({ length: clients }, () => new Client(url));
    await Promise.all(all.map((client) => client.connect()));
    return new Floor(all, template);
  }

  /** Starts and ends this run on the connection of this number. */
  async cycle(connection: number, run: string): Promise<void> {
    const client = this.clients[connection];
    const { provision, finalise } = valuesOf(this.template, run, newId());
    const started = await client.query({ name: 'provision', text: PROVISION, values: provision });
    const ended = await client.query({ name: 'finalise', text: FINALISE, values: finalise });
    if (started.rowCount !== 1 || ended.rowCount !== 1)
      throw new Error(`The floor's cycle of run ${run} wrote too little`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.clients.map((client) => client.end()));
  }
}
