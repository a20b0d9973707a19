import { DomainEvent, RegisterEvent } from '../events/domain-event.js';
import type { LeasePolicy } from '../environments/lease-policy.js';
import type { LeaseStatus } from './environment-lease.entity.js';

/** What every fact about a lease says. */
export interface LeaseFacts {
  readonly id: string;
  readonly companyId: string;
  readonly environmentId: string;
  readonly driver: string;
  readonly leasePolicy: LeasePolicy;
  readonly executionWorkspaceId: string | null;
  readonly issueId: string | null;
  readonly heartbeatRunId: string | null;
  readonly agentId: string | null;
  readonly holder: string;
  readonly status: LeaseStatus;
  /** Why it ended, where that needs saying. */
  readonly reason?: string | null;
}

abstract class LeaseEvent extends DomainEvent {
  readonly companyId: string;
  readonly subject: { type: string; id: string };
  override readonly agentId: string | null;
  override readonly runId: string | null;

  constructor(private readonly lease: LeaseFacts) {
    super();
    this.companyId = lease.companyId;
    this.subject = { type: 'environment_lease', id: lease.id };
    this.agentId = lease.agentId;
    this.runId = lease.heartbeatRunId;
  }

  override details(): Record<string, unknown> {
    const { environmentId, driver, leasePolicy, executionWorkspaceId, issueId, holder, status, reason } = this.lease;
    return {
      environmentId,
      driver,
      leasePolicy,
      provider: driver,
      executionWorkspaceId,
      issueId,
      // A run's lease is held by that run, which the entry names.
      ...(this.runId ? {} : { holder }),
      status,
      ...(reason ? { reason } : {}),
    };
  }
}

@RegisterEvent
export class LeaseAcquired extends LeaseEvent {
  static override readonly wireName = 'lease.acquired';
  static override readonly action = 'environment.lease_acquired';
}

@RegisterEvent
export class LeaseReleased extends LeaseEvent {
  static override readonly wireName = 'lease.released';
  static override readonly action = 'environment.lease_released';
}

@RegisterEvent
export class LeaseExpired extends LeaseEvent {
  static override readonly wireName = 'lease.expired';
  static override readonly action = 'environment.lease_expired';
}

@RegisterEvent
export class LeaseFailed extends LeaseEvent {
  static override readonly wireName = 'lease.failed';
  static override readonly action = 'environment.lease_failed';
}

/** The holder, or an operator, changed what is noted with a lease. */
@RegisterEvent
export class LeaseMetadataChanged extends DomainEvent {
  static override readonly wireName = 'lease.metadata_changed';
  static override readonly action = 'environment.lease_metadata_changed';
  readonly companyId: string;
  readonly subject: { type: string; id: string };
  override readonly runId: string | null;

  constructor(
    lease: { id: string; companyId: string; heartbeatRunId?: string | null },
    private readonly keys: string[],
  ) {
    super();
    this.companyId = lease.companyId;
    this.subject = { type: 'environment_lease', id: lease.id };
    this.runId = lease.heartbeatRunId ?? null;
  }

  override details(): Record<string, unknown> {
    return { keys: this.keys };
  }
}

/** An operator wants the lease to end: when, and why. */
@RegisterEvent
export class LeaseRevokeRequested extends DomainEvent {
  static override readonly wireName = 'lease.revoke_requested';
  static override readonly action = 'environment.lease_revoke_requested';
  readonly companyId: string;
  readonly subject: { type: string; id: string };
  override readonly runId: string | null;

  constructor(
    lease: { id: string; companyId: string; heartbeatRunId: string | null },
    private readonly facts: { environmentId: string; reason: string; endsAt: string },
  ) {
    super();
    this.companyId = lease.companyId;
    this.subject = { type: 'environment_lease', id: lease.id };
    this.runId = lease.heartbeatRunId;
  }

  override details(): Record<string, unknown> {
    return { ...this.facts };
  }
}

/** The event that says how a lease ended. */
export function leaseEnded(lease: LeaseFacts): LeaseReleased | LeaseExpired | LeaseFailed {
  switch (lease.status) {
    case 'released':
      return new LeaseReleased(lease);
    case 'expired':
      return new LeaseExpired(lease);
    case 'failed':
      return new LeaseFailed(lease);
    case 'active':
      throw new Error(`Lease ${lease.id} has not ended`);
  }
}
