import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { violatedConstraint } from '../database/database-errors.js';
import { unanswered, type Unanswered } from '../database/transaction.js';
import type { LeasePolicy } from '../environments/lease-policy.js';
import { DomainEvents } from '../events/domain-events.js';
import { SlotTakenError, WorkspaceOccupiedError } from './lease-errors.js';
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
  /** The lease by which that run is held: this one, or the one that this is a further lease to. */
  readonly runLeaseId: string | null;
  readonly holder: string;
  readonly leasePolicy: LeasePolicy;
  /** Which of the environment's places; null where it has no capacity. */
  readonly slot: number | null;
  readonly placeId: string | null;
  readonly providerLeaseId: string | null;
  readonly runnerId: string | null;
  readonly host: string | null;
  readonly ttlSec: number;
  /** How long it can last, however often it is renewed. */
  readonly lifetimeSec: number;
}

/** What its holder has to know of a lease to use it. */
export interface AcquiredLease {
  readonly id: string;
  readonly fencingToken: number;
  readonly acquiredAt: Date;
  readonly expiresAt: Date;
}

/** A row that says so much. */
export interface AcquiredRow {
  id: string;
  fencing_token: string;
  acquired_at: string;
  expires_at: string;
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
   * @returns when they have been asked for and recorded: what was acquired is in the answer. That is WorkspaceOccupiedError or
   *   SlotTakenError when an exclusive workspace or a slot among them is held after all; the transaction is then over.
   */
  async acquire(requests: LeaseRequest[]): Promise<Unanswered<Map<string, AcquiredLease>>> {
    const acquired = unanswered(
      this.insert(requests).then(
        (rows) => new Map(rows.map((row) => [row.id, acquiredLease(row)])),
        (error: unknown) => {
          throw heldAfterAll(error, requests) ?? error;
        },
      ),
    );
    await this.events.record(requests.map((request) => new LeaseAcquired({ ...request, status: 'active' })));
    return acquired;
  }

  /**
   * The clock may have been set back since the slot or workspace was last held: time goes on from there. Whoever held it
   * for no time then began when the next one did.
   */
  private insert(requests: LeaseRequest[]) {
    return this.em.execute<AcquiredRow[]>(
      `with wanted as materialized (
         select x.*, greatest(clock_timestamp(),
           (select h.held_until from environment_leases h where h.environment_id = x."environmentId" and h.slot = x.slot
            order by h.acquired_at desc, h.held_until desc limit 1),
           (select h.released_at from environment_leases h
            where h.execution_workspace_id = x."executionWorkspaceId" and h.workspace_mode = 'exclusive'
            order by h.acquired_at desc, h.released_at desc limit 1)) as at
         from jsonb_to_recordset(?::jsonb) as x(id uuid, "companyId" uuid, "environmentId" uuid,
           "executionWorkspaceId" uuid, "workspaceMode" text, "issueId" uuid, "heartbeatRunId" uuid, "runLeaseId" uuid,
           holder text, "leasePolicy" text, driver text, slot integer, "placeId" uuid, "providerLeaseId" text,
           "runnerId" text, host text, "ttlSec" integer, "lifetimeSec" integer))
       insert into environment_leases (id, company_id, environment_id, execution_workspace_id, workspace_mode, issue_id,
         heartbeat_run_id, run_lease_id, holder, status, lease_policy, provider, slot, place_id, provider_lease_id,
         runner_id, host, ttl_sec, acquired_at, last_used_at, expires_at, lifetime_ends_at)
       select id, "companyId", "environmentId", "executionWorkspaceId", "workspaceMode", "issueId",
         "heartbeatRunId", "runLeaseId", holder, 'active', "leasePolicy", driver, slot, "placeId", "providerLeaseId",
         "runnerId", host, "ttlSec", at, at, at + make_interval(secs => least("ttlSec", "lifetimeSec")),
         at + make_interval(secs => "lifetimeSec")
       from wanted
       returning id, fencing_token, acquired_at, expires_at`,
      [JSON.stringify(requests)],
    );
  }
}

export const acquiredLease = ({ id, fencing_token: token, acquired_at, expires_at }: AcquiredRow): AcquiredLease => ({
  id,
  fencingToken: Number(token),
  acquiredAt: new Date(acquired_at),
  expiresAt: new Date(expires_at),
});

function heldAfterAll(error: unknown, requests: LeaseRequest[]): Error | null {
  switch (violatedConstraint(error)) {
    case 'environment_leases_one_per_exclusive_workspace':
    case 'environment_leases_workspace_never_shared':
      return new WorkspaceOccupiedError(requests.flatMap(({ executionWorkspaceId: id }) => (id ? [id] : [])));
    case 'environment_leases_slot_never_shared':
      return new SlotTakenError(requests.flatMap(({ environmentId, slot }) => (slot ? [environmentId] : [])));
    default:
      return null;
  }
}
