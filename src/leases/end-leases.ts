import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { answers } from '../database/answers.js';
import { DomainEvents } from '../events/domain-events.js';
import type { LeasePolicy } from '../environments/lease-policy.js';
import type { LeaseStatus } from './environment-lease.entity.js';
import { LeavePlaces } from './places/leave-places.js';
import { leaseEnded } from './leases.events.js';

/** How one lease ends. */
export interface LeaseEnd {
  readonly id: string;
  readonly status: Exclude<LeaseStatus, 'active'>;
  /** Required for `failed` and `expired`. */
  readonly reason: string | null;
  /** The run that it is held for, and how that has ended by then: else the lease stays as it is. */
  readonly run: { readonly id: string; readonly status: string } | null;
  /** Its holder did what it came for: its place may be kept for the next one. */
  readonly succeeded: boolean;
}

interface EndedRow {
  id: string;
  run_lease_id: string | null;
  place_id: string | null;
  company_id: string;
  environment_id: string;
  provider: string;
  lease_policy: LeasePolicy;
  execution_workspace_id: string | null;
  issue_id: string | null;
  heartbeat_run_id: string | null;
  holder: string;
  status: Exclude<LeaseStatus, 'active'>;
  agent_id: string | null;
}

/** Ends leases. The only writer of their terminal states; terminal is final. */
@Injectable()
export class EndLeases {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly places: LeavePlaces,
  ) {}

  /**
   * Ends those of the leases that are still active, in the caller's transaction; with a run's lease its further ones. What
   * has no place gives up its slot with that, what has one when the place has gone.
   * @param told when this is recorded: what it follows from comes first.
   * @returns the ids of the named leases that this call ended.
   */
  async end(ends: LeaseEnd[], told: Promise<unknown> = Promise.resolve()): Promise<Set<string>> {
    if (ends.length === 0) return new Set();
    const [rows] = await answers([this.update(ends), told]);
    const wanted = new Map(ends.map((end) => [end.id, end]));
    const endOf = (row: EndedRow) => wanted.get(row.id) ?? wanted.get(row.run_lease_id ?? '');
    await this.events.record(
      rows.map((row) =>
        leaseEnded({
          id: row.id,
          companyId: row.company_id,
          environmentId: row.environment_id,
          driver: row.provider,
          leasePolicy: row.lease_policy,
          executionWorkspaceId: row.execution_workspace_id,
          issueId: row.issue_id,
          heartbeatRunId: row.heartbeat_run_id,
          agentId: row.agent_id,
          holder: row.holder,
          status: row.status,
          reason: endOf(row)?.reason,
        }),
      ),
    );
    const withPlaces = rows.filter((row) => row.place_id !== null);
    if (withPlaces.length > 0) {
      await this.places.leave(
        withPlaces.map((row) => ({ leaseId: row.id, succeeded: endOf(row)?.succeeded ?? false })),
      );
    }
    return new Set(rows.map(({ id }) => id).filter((id) => wanted.has(id)));
  }

  private update(ends: LeaseEnd[]) {
    return this.em.execute<EndedRow[]>(
      `with x as materialized (
         select x.id, x.status, x.reason, r.agent_id, clock_timestamp() as at
         from jsonb_to_recordset(?::jsonb) as x(id uuid, status text, reason text, "runId" uuid, "runStatus" text)
         left join heartbeat_runs r on r.id = x."runId" and r.lease_id = x.id and r.status = x."runStatus"
         where x."runId" is null or r.id is not null),
       ending as (
         select id as lease_id, x.* from x
         union all
         select f.id, x.* from x join environment_leases f on f.run_lease_id = x.id
         where f.run_lease_id = any(array(select id from x)) and f.run_lease_id <> f.id and f.status = 'active'),
       held as (
         -- Several of them in order: a renewal takes them, too.
         select id from environment_leases
         where (select count(*) from ending) > 1 and id = any(array(select lease_id from ending))
         order by id for no key update)
       update environment_leases l
       set status = ending.status, failure_reason = ending.reason, updated_at = now(),
         released_at = greatest(ending.at, l.acquired_at),
         held_until = case when l.place_id is null then greatest(ending.at, l.acquired_at) end
       from ending where (select count(*) from held) is not null
         and l.id = any(array(select lease_id from ending)) and l.id = ending.lease_id and l.status = 'active'
       returning l.id, l.company_id, l.environment_id, l.provider, l.lease_policy, l.execution_workspace_id, l.issue_id,
         l.heartbeat_run_id, l.run_lease_id, l.place_id, l.holder, l.status, ending.agent_id`,
      [JSON.stringify(ends.map(({ run, ...end }) => ({ ...end, runId: run?.id, runStatus: run?.status })))],
    );
  }
}
