import type { Deployment } from './deployment.js';

export interface RecordedRun {
  readonly id: string;
  readonly companyId: string;
  readonly agentId: string;
  readonly status: string;
  readonly errorCode: string | null;
  readonly leaseId: string | null;
  readonly retryOfRunId: string | null;
  readonly wakeupRequestId: string | null;
  readonly lossRetries: number;
  readonly shutdownRetries: number;
  /** Milliseconds since 1970, by the database's clock; null until it ends. */
  readonly finishedAt: number | null;
  /** How often its record tells of its end. */
  readonly ends: number;
}

export interface RecordedLease {
  readonly id: string;
  readonly environmentId: string;
  readonly runId: string | null;
  readonly slot: number | null;
  readonly token: number;
  readonly status: string;
  /** Milliseconds since 1970, by the database's clock. */
  readonly acquiredAt: number;
  /** When it runs out, or would have. */
  readonly expiresAt: number;
  readonly heldUntil: number | null;
  /** Whether it was ended because nobody renewed it. */
  readonly isReaped: boolean;
}

export interface RecordedWake {
  readonly id: string;
  readonly companyId: string;
  readonly status: string;
  readonly reason: string | null;
  readonly runId: string | null;
  /** Whether somebody outside asked for it. */
  readonly isAsked: boolean;
}

/** What the database says in the end. */
export interface FinalRecord {
  readonly runs: readonly RecordedRun[];
  readonly leases: readonly RecordedLease[];
  readonly wakes: readonly RecordedWake[];
  /** Ids of the entries of each company's record. */
  readonly entries: ReadonlyMap<string, readonly string[]>;
  /** The values that callers appended, in the order of the record. */
  readonly appended: readonly string[];
}

const ENDS = `('heartbeat.succeeded', 'heartbeat.failed', 'heartbeat.cancelled', 'heartbeat.timed_out')`;

export async function readRecord(deployment: Deployment, companyIds: readonly string[]): Promise<FinalRecord> {
  const of = [`{${companyIds.join(',')}}`];
  const runs = await deployment.query<RecordedRun>(
    `select r.id, r.company_id as "companyId", r.agent_id as "agentId", r.status, r.error_code as "errorCode",
       r.lease_id as "leaseId", r.retry_of_run_id as "retryOfRunId", r.wakeup_request_id as "wakeupRequestId",
       r.process_loss_retry_count as "lossRetries", r.shutdown_retry_count as "shutdownRetries", 1000 * extract(epoch from r.finished_at)::float8 as "finishedAt",
       (select count(*)::integer from activity_log a where a.company_id = r.company_id and a.entity_type = 'heartbeat_run'
          and a.entity_id = r.id::text and a.action in ${ENDS}) as ends
     from heartbeat_runs r
     where r.company_id = any($1::uuid[]) order by r.id`,
    of,
  );
  const leases = await deployment.query<RecordedLease>(
    `select id, environment_id as "environmentId", heartbeat_run_id as "runId", slot, fencing_token::float8 as token, status,
       1000 * extract(epoch from acquired_at)::float8 as "acquiredAt",
       1000 * extract(epoch from expires_at)::float8 as "expiresAt",
       1000 * extract(epoch from held_until)::float8 as "heldUntil",
       exists (select 1 from activity_log a where a.company_id = l.company_id and a.entity_type = 'environment_lease'
         and a.entity_id = l.id::text and a.actor_id = 'reaper') as "isReaped"
     from environment_leases l where company_id = any($1::uuid[]) order by fencing_token`,
    of,
  );
  const wakes = await deployment.query<RecordedWake>(
    `select id, company_id as "companyId", status, status_reason as reason, run_id as "runId",
       requested_by_actor_type = 'user' as "isAsked"
     from agent_wakeup_requests where company_id = any($1::uuid[])
     union all
     -- One that became a run at once is kept in that.
     select r.wakeup_request_id, r.company_id, 'completed', null, r.id, exists (select 1 from activity_log a
       where a.run_id = r.id and a.action = 'heartbeat.invoked' and a.actor_type = 'user')
     from heartbeat_runs r where r.company_id = any($1::uuid[]) and r.wakeup_request_id is not null
       and not exists (select 1 from agent_wakeup_requests w where w.id = r.wakeup_request_id)`,
    of,
  );
  const entries = await deployment.query<{ id: string; companyId: string; value: string | null }>(
    `select id, company_id as "companyId", case when action = 'custom.chaos' then details ->> 'value' end as value
     from activity_log where company_id = any($1::uuid[]) order by seq`,
    of,
  );
  return {
    runs,
    leases,
    wakes,
    entries: new Map(
      [...Map.groupBy(entries, ({ companyId }) => companyId)].map(([id, all]) => [id, all.map((entry) => entry.id)]),
    ),
    appended: entries.flatMap(({ value }) => value ?? []),
  };
}
