import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { assertOperator } from '../../auth/access.js';
import { inTransaction } from '../../database/transaction.js';
import type { EnvironmentLease } from '../../leases/environment-lease.entity.js';
import { LeaseHeldByRunError } from '../../leases/lease-errors.js';
import { LeasesService, type LeaseRow } from '../../leases/leases.service.js';
import { EndRuns } from './end-runs.js';
import { failedOutcome } from '../runs/run-outcome.js';
import { RunsService } from '../runs/runs.service.js';

/** What a release says beyond which lease. */
export interface Release {
  readonly reason: string | null;
  readonly fencingToken?: number;
  readonly force: boolean;
}

/** Releases leases by hand, where a run may be what holds them: run and lease only ever end together. */
@Injectable()
export class ReleaseService {
  constructor(
    private readonly em: EntityManager,
    private readonly leases: LeasesService,
    private readonly runs: RunsService,
    private readonly endRuns: EndRuns,
  ) {}

  /**
   * Releases one lease. The lease of a running run only with force, by an operator: the run is cancelled with it.
   * @throws NotFoundError, OtherRunsLeaseError, LeaseHeldByRunError, OperatorOnlyError, FencingTokenRequiredError, LeaseLostError
   */
  async release(leaseId: string, { reason, fencingToken, force }: Release): Promise<EnvironmentLease> {
    const lease = await this.leases.require(leaseId);
    // Only with its first lease does a run end; a further one goes alone.
    const runId = lease.runLeaseId === leaseId ? lease.heartbeatRunId : null;
    if (lease.status !== 'active' || !runId) return this.leases.release(leaseId, reason, fencingToken);
    this.leases.assertMayTouch(lease);
    if (!force) throw new LeaseHeldByRunError(leaseId, runId);
    assertOperator();
    await this.revoke(runId, leaseId, reason);
    return this.em.refreshOrFail(lease);
  }

  /**
   * Releases every lease of a run: there is something to release only while it runs, so only with force.
   * @throws NotFoundError, OtherAgentsRunError, LeaseHeldByRunError, OperatorOnlyError
   */
  async releaseAllOf(runId: string, { reason, force }: Release): Promise<LeaseRow[]> {
    const { companyId, status, leaseId } = await this.runs.require(runId);
    if (status === 'running' && leaseId) {
      if (!force) throw new LeaseHeldByRunError(leaseId, runId);
      assertOperator();
      await this.revoke(runId, leaseId, reason);
    }
    return this.leases.ofRun(companyId, runId);
  }

  private async revoke(runId: string, leaseId: string, reason: string | null): Promise<void> {
    const error = reason ?? 'An operator released the lease';
    await inTransaction(this.em, async () => {
      const agents = await this.endRuns.lockOwnersOf([runId]);
      const outcome = { ...failedOutcome('lease_revoked', error), status: 'cancelled' as const };
      await this.endRuns.endRunning([{ runId, leaseId, fencingToken: null, outcome }], agents);
    });
  }
}
