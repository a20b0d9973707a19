import { Client } from 'pg';
import { newId } from '#berth/database/id.js';

/**
 * What Berth writes when it provisions a run, as one statement: run, lease, and both entries of the record. Left out is
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
  select $2, company_id, ($6::jsonb ->> 'environmentId')::uuid, id, $2, 'run:' || id, 'active', 'ephemeral', 'local', $3,
    $6::jsonb ->> 'host', 60, at, at, at + interval '60 s', at + interval '86400 s'
  from run, clock_timestamp() at)
insert into activity_log (id, company_id, actor_type, actor_id, action, entity_type, entity_id, agent_id, run_id, details)
select x.id, run.company_id, 'system', 'runner:' || $3, x.action, x.type, x.entity, run.agent_id, run.id, x.details
from run, (values
  ($7::uuid, 'environment.lease_acquired', 'environment_lease', $2::text, $9::jsonb),
  ($8::uuid, 'heartbeat.started', 'heartbeat_run', $1::text, $10::jsonb)) x (id, action, type, entity, details)`;

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
insert into activity_log (id, company_id, actor_type, actor_id, action, entity_type, entity_id, agent_id, run_id, details)
select x.id, run.company_id, 'system', 'runner:' || $3, x.action, x.type, x.entity, run.agent_id, run.id, x.details
from run, (values
  ($5::uuid, 'heartbeat.succeeded', 'heartbeat_run', $1::text, $7::jsonb),
  ($6::uuid, 'environment.lease_released', 'environment_lease', $2::text, $8::jsonb)) x (id, action, type, entity, details)`;

/** What a cycle of Berth's wrote, which those of the floor write again: the values that are the same in all of them. */
export interface Template {
  readonly runner: string;
  readonly token: Buffer;
  readonly context: object;
  readonly placement: object;
  readonly result: object;
  readonly acquired: object;
  readonly started: object;
  readonly succeeded: object;
  readonly released: object;
}

export async function templateOf(run: string, client: Client): Promise<Template> {
  const { rows } = await client.query<Template>(
    `select runner_id as runner, token_hash as token, context_snapshot as context, placement, result_json as result, a.*
     from heartbeat_runs r, (select
         max(details::text) filter (where action = 'environment.lease_acquired')::jsonb as acquired,
         max(details::text) filter (where action = 'heartbeat.started')::jsonb as started,
         max(details::text) filter (where action = 'heartbeat.succeeded')::jsonb as succeeded,
         max(details::text) filter (where action = 'environment.lease_released')::jsonb as released
       from activity_log where run_id = $1) a
     where r.id = $1`,
    [run],
  );
  return rows[0];
}

/** The values of both statements, in the order of their parameters. */
export const valuesOf = (template: Template, run: string, lease: string) => ({
  provision: [
    ...[run, lease, template.runner, template.token, template.context, template.placement],
    ...[newId(), newId(), template.acquired, template.started],
  ],
  finalise: [run, lease, template.runner, template.result, newId(), newId(), template.succeeded, template.released],
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
    if (started.rowCount !== 2 || ended.rowCount !== 2)
      throw new Error(`The floor's cycle of run ${run} wrote too little`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.clients.map((client) => client.end()));
  }
}
