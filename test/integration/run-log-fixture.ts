import { MikroORM } from '@mikro-orm/postgresql';
import { connectionOptions } from '../../src/database/connection.js';
import { newId } from '../../src/database/id.js';
import type { LogHolder, RunLogStore } from '../../src/heartbeat/logs/run-log-store.js';
import type { RunLogWriter } from '../../src/heartbeat/logs/run-log-writer.js';
import { ormOptions } from '../../src/mikro-orm.config.js';
import type { TestDatabase } from '../support/test-database.js';

/** Connects like the application does. */
export const connect = (url: string) => MikroORM.init(ormOptions(connectionOptions(url, 'test')));

/** Makes a running run with its lease, without a runner that would end it. */
export async function runningRun(database: TestDatabase, { ttlSec = 600 } = {}): Promise<LogHolder> {
  const [company, environment, agent, runId, leaseId] = Array.from({ length: 5 }, newId);
  const [row] = await database.query<{ fencing_token: string }>(
    `with c as (insert into companies (id, name, issue_prefix)
         values ($1, 'c', $7) returning id),
       e as (insert into environments (id, company_id, name, driver) select $2, id, 'e', 'local' from c returning id),
       a as (insert into agents (id, company_id, name, adapter_type) select $3, id, 'a', 'process' from c returning id),
       r as (insert into heartbeat_runs (id, company_id, agent_id, invocation_source, status, lease_id, runner_id,
           started_at)
         select $4, c.id, a.id, 'on_demand', 'running', $5, 'runner', now() from c, a returning id)
     insert into environment_leases (id, company_id, environment_id, heartbeat_run_id, run_lease_id, holder, status,
       provider, acquired_at, last_used_at, expires_at, lifetime_ends_at)
     select $5, c.id, e.id, r.id, $5, 'run', 'active', 'local', now(), now(), now() + make_interval(secs => $6),
       now() + interval '1 day'
     from c, e, r returning fencing_token`,
    [company, environment, agent, runId, leaseId, ttlSec, `C${company.slice(-8).toUpperCase()}`],
  );
  return { runId: runId, leaseId: leaseId, fencingToken: Number(row.fencing_token) };
}

/** Closes a log and stores its rest, which goes with the end of its run otherwise. */
export async function close(log: RunLogWriter, store: RunLogStore, holder: LogHolder): Promise<void> {
  const rest = await log.close();
  if (rest) await store.append(holder, rest);
}
