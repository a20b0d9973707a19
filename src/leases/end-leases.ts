import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { DomainEvents } from '../events/domain-events.js';
import type { LeasePolicy } from '../environments/lease-policy.js';
import type { LeaseStatus } from './environment-lease.entity.js';
import { leaseEnded } from './leases.events.js';

/** How one lease ends. */
export interface LeaseEnd {
  readonly id: string;
  readonly status: Exclude<LeaseStatus, 'active'>;
  /** Required for `failed` and `expired`. */
  readonly reason: string | null;
  readonly agentId: string | null;
}

interface EndedRow {
  id: string;
  company_id: string;
  environment_id: string;
  provider: string;
  lease_policy: LeasePolicy;
  execution_workspace_id: string | null;
  issue_id: string | null;
  heartbeat_run_id: string | null;
  status: Exclude<LeaseStatus, 'active'>;
}

/** Ends leases. The only writer of their terminal states; terminal is final. */
@Injectable()
export class EndLeases {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
  ) {}

  /**
   * Ends those of the leases that are still active, in the caller's transaction.
   * @returns the ids that this call ended.
   */
  async end(ends: LeaseEnd[]): Promise<Set<string>> {
    if (ends.length === 0) return new Set();
    const rows = await this.em.execute<EndedRow[]>(
      `update environment_leases l
       set status = x.status, failure_reason = x.reason, updated_at = now(),
         released_at = greatest(clock_timestamp(), l.acquired_at)
       from jsonb_to_recordset(?::jsonb) as x(id uuid, status text, reason text)
       where l.id = x.id and l.status = 'active'
       returning l.id, l.company_id, l.environment_id, l.provider, l.lease_policy, l.execution_workspace_id, l.issue_id,
         l.heartbeat_run_id, l.status`,
      [JSON.stringify(ends)],
    );
    const wanted = new Map(ends.map((end) => [end.id, end]));
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
          agentId: wanted.get(row.id)?.agentId ?? null,
          status: row.status,
          reason: wanted.get(row.id)?.reason,
        }),
      ),
    );
    return new Set(rows.map(({ id }) => id));
  }
}
