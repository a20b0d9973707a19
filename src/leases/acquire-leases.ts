import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { violatedConstraint } from '../database/database-errors.js';
import { DomainEvents } from '../events/domain-events.js';
import type { LeasePolicy } from '../environments/lease-policy.js';
import { WorkspaceOccupiedError } from './lease-errors.js';
import { LeaseAcquired } from './leases.events.js';

/** What a new lease holds, and for whom. */
export interface LeaseRequest {
  readonly id: string;
  readonly companyId: string;
  readonly environmentId: string;
  readonly driver: string;
  readonly executionWorkspaceId: string | null;
  readonly workspaceMode: 'shared' | 'exclusive' | null;
  readonly issueId: string | null;
  readonly agentId: string | null;
  readonly heartbeatRunId: string | null;
  readonly holder: string;
  readonly leasePolicy: LeasePolicy;
  readonly runnerId: string | null;
  readonly host: string | null;
  readonly ttlSec: number;
}

/** What its holder has to know of a lease to use it. */
export interface AcquiredLease {
  readonly id: string;
  readonly fencingToken: number;
  readonly acquiredAt: Date;
  readonly expiresAt: Date;
}

/** Makes leases. The only writer of new lease rows. */
@Injectable()
export class AcquireLeases {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
  ) {}

  /**
   * Acquires leases in the caller's transaction, which holds the locks of what is leased. Token and times are drawn
   * here, after those locks: a slot's tokens rise, and a holder's time begins no earlier than its predecessor's ended.
   * @throws WorkspaceOccupiedError when an exclusive workspace among them is in use; the transaction is then over.
   */
  async acquire(requests: LeaseRequest[]): Promise<Map<string, AcquiredLease>> {
    const rows = await this.insert(requests).catch((error: unknown) => {
      if (violatedConstraint(error) !== 'environment_leases_one_per_exclusive_workspace') throw error;
      throw new WorkspaceOccupiedError(requests.flatMap(({ executionWorkspaceId: id }) => (id ? [id] : [])));
    });
    await this.events.record(requests.map((request) => new LeaseAcquired({ ...request, status: 'active' })));
    return new Map(
      rows.map(({ id, fencing_token, acquired_at, expires_at }) => [
        id,
        {
          id,
          fencingToken: Number(fencing_token),
          acquiredAt: new Date(acquired_at),
          expiresAt: new Date(expires_at),
        },
      ]),
    );
  }

  private insert(requests: LeaseRequest[]) {
    return this.em.execute<{ id: string; fencing_token: string; acquired_at: string; expires_at: string }[]>(
      `with clock as materialized (select clock_timestamp() as at)
       insert into environment_leases (id, company_id, environment_id, execution_workspace_id, workspace_mode, issue_id,
         heartbeat_run_id, holder, status, lease_policy, provider, runner_id, host, acquired_at, last_used_at, expires_at)
       select x.id, x."companyId", x."environmentId", x."executionWorkspaceId", x."workspaceMode", x."issueId",
         x."heartbeatRunId", x.holder, 'active', x."leasePolicy", x.driver, x."runnerId", x.host,
         clock.at, clock.at, clock.at + make_interval(secs => x."ttlSec")
       from clock, jsonb_to_recordset(?::jsonb) as x(id uuid, "companyId" uuid, "environmentId" uuid,
         "executionWorkspaceId" uuid, "workspaceMode" text, "issueId" uuid, "heartbeatRunId" uuid, holder text,
         "leasePolicy" text, driver text, "runnerId" text, host text, "ttlSec" double precision)
       returning id, fencing_token, acquired_at, expires_at`,
      [JSON.stringify(requests)],
    );
  }
}
