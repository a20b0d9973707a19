import type { Client } from 'pg';

/** A company and an environment for leases that nobody acquired. */
export async function makeHarbour(client: Client): Promise<void> {
  await client.query(
    `truncate companies, activity_rows cascade;
     insert into companies (id, name, issue_prefix) values (gen_random_uuid(), 'Harbour', 'H');
     insert into environments (id, company_id, name, driver) select gen_random_uuid(), id, 'Local', 'local' from companies`,
  );
}

/** Running runs with their leases, as if runners had claimed them now; each runner in turn has one. */
export async function makeLiveLeases(client: Client, count: number, runners: readonly string[]): Promise<void> {
  await client.query(
    `with company as materialized (select id from companies), place as materialized (select id from environments),
     agent as (
       insert into agents (id, company_id, name, adapter_type)
       select gen_random_uuid(), company.id, gen_random_uuid(), 'process' from company, generate_series(1, 100) n returning id),
     numbered as materialized (select id, row_number() over () as n from agent),
     run as materialized (
       select uuidv7() as id, uuidv7() as lease, gen_random_uuid() as wake, a.id as agent, s.n,
         ($2::text[])[1 + s.n % array_length($2::text[], 1)] as runner
       from generate_series(1, $1::integer) s(n) join numbered a on a.n = 1 + s.n % 100),
     started as (
       insert into heartbeat_runs (id, company_id, agent_id, wakeup_request_id, invocation_source, status, lease_id,
         runner_id, started_at)
       select run.id, company.id, agent, wake, 'on_demand', 'running', lease, runner, now() from run, company)
     insert into environment_leases (id, company_id, environment_id, heartbeat_run_id, run_lease_id, holder, status,
       provider, runner_id, host, acquired_at, last_used_at, expires_at, lifetime_ends_at)
     select lease, company.id, place.id, run.id, lease, 'run:' || run.id, 'active', 'local', runner, gen_random_uuid(),
       now(), now(), now() + interval '60 s', now() + interval '1 day' from run, company, place order by run.n`,
    [count, runners],
  );
}

/** Ends three of four, in no order: what lives lies between what has ended. */
export async function endMost(client: Client): Promise<void> {
  await client.query(
    `with ended as (
       update environment_leases set status = 'released', released_at = now() + interval '1 s',
         held_until = now() + interval '1 s', updated_at = now()
       where hashtext(id::text) % 4 <> 0 returning heartbeat_run_id)
     update heartbeat_runs r set status = 'succeeded', finished_at = now() from ended where r.id = heartbeat_run_id`,
  );
  await client.query('vacuum analyze');
}
