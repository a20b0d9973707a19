import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { CompaniesService } from '../../companies/companies.service.js';
import { BerthConfig } from '../../config/config.js';
import { newId } from '../../database/id.js';
import { inTransaction } from '../../database/transaction.js';
import { AcquireLeases, type LeaseRequest } from '../../leases/acquire-leases.js';
import { EnvironmentLease } from '../../leases/environment-lease.entity.js';
import { ChosenEnvironments, type ChosenEnvironment } from '../claiming/chosen-environments.js';
import { lowestFree } from '../claiming/room.js';
import type { LeaseWish, Obstacle } from './lease-wish.js';
import { obstacle } from './queue-order.js';
import { ObstructedError, RunNotRunningError, UnusableTargetError } from './reserving-errors.js';

/** The place in the queue of somebody who waits. */
export interface QueuePlace {
  readonly id: string;
  /** Since when. */
  readonly since: Date;
}

/** The run that a further lease belongs to, held. */
interface HoldingRun {
  leaseId: string;
  agentId: string;
  issueId: string | null;
  /** How long its own lease can still last, in seconds. */
  lifetimeSec: number;
}

interface Target {
  obstacle: Obstacle | null;
  mode: 'shared' | 'exclusive' | null;
  workspace_archived: boolean | null;
  workspace_elsewhere: boolean | null;
  /** Which of the environment's slots are held: as old as the obstacle, so that a slot is free where there is room. */
  slots: number[];
}

/** Grants leases that are asked for by name, under the same locks as those of runs that start. */
@Injectable()
export class GrantLease {
  constructor(
    private readonly em: EntityManager,
    private readonly companies: CompaniesService,
    private readonly environments: ChosenEnvironments,
    private readonly leases: AcquireLeases,
    private readonly config: BerthConfig,
  ) {}

  /**
   * Grants the wish if its turn has come: holds the run, then the environment, then the workspace, and looks. Lease and
   * request change in one transaction.
   * @param place where the wish stands in the queue; null for the end of it.
   * @throws ObstructedError, RunNotRunningError, UnusableTargetError, CompanyArchivedError, WorkspaceOccupiedError,
   *   SlotTakenError; the transaction is then over.
   */
  async grant(wish: LeaseWish, place: QueuePlace | null): Promise<EnvironmentLease> {
    let lease: EnvironmentLease | null = null;
    while (!lease) lease = await this.tryToGrant(wish, place);
    return lease;
  }

  /** @returns null where the environment was given a capacity just before it was held, so that its room was not. */
  private tryToGrant(wish: LeaseWish, place: QueuePlace | null): Promise<EnvironmentLease | null> {
    return inTransaction(this.em, async () => {
      await this.companies.requireActive(wish.companyId);
      const run = wish.heartbeatRunId === null ? null : await this.holdRun(wish.heartbeatRunId);
      const environment = (await this.environments.hold([wish.environmentId])).get(wish.environmentId)!;
      assertTakesLeases(environment);
      const target = await this.look(wish, place);
      assertUsable(target);
      const { obstacle } = target;
      // Nothing but room is made by having a place give way.
      if (obstacle === 'environment_at_capacity') throw new ObstructedError(obstacle, warmIn(environment));
      if (obstacle) throw new ObstructedError(obstacle);
      if (!environment.counted) return null;
      const request = this.requestFor(wish, environment, target, run);
      const acquired = await this.leases.acquire([request]);
      await acquired.answer;
      if (place) await this.em.execute('delete from lease_requests where id = ?', [place.id]);
      const lease = await this.em.findOneOrFail(EnvironmentLease, request.id);
      lease.mergeMetadata(wish.metadata);
      await this.em.flush();
      return lease;
    });
  }

  /** Its end waits from here on, and finds the further lease. */
  private async holdRun(runId: string): Promise<HoldingRun> {
    const [run] = await this.em.execute<[HoldingRun?]>(
      `select l.id as "leaseId", r.agent_id as "agentId", r.issue_id as "issueId",
         floor(extract(epoch from l.lifetime_ends_at - clock_timestamp()))::integer as "lifetimeSec"
       from heartbeat_runs r join environment_leases l on l.id = r.lease_id
       where r.id = ? and r.status = 'running' and l.expires_at > clock_timestamp()
       for no key update of r`,
      [runId],
    );
    if (!run || run.lifetimeSec < 1) throw new RunNotRunningError(runId);
    return run;
  }

  /** A statement of its own: only a snapshot taken after the locks sees what their last holders did. */
  private async look(wish: LeaseWish, place: QueuePlace | null): Promise<Target> {
    const { companyId, environmentId, executionWorkspaceId } = wish;
    await this.em.execute('select 1 from execution_workspaces where id = ? for share', [executionWorkspaceId]);
    const [target] = await this.em.execute<[Target]>(
      `select ${obstacle('0')} as obstacle, w.mode, w.status = 'archived' as workspace_archived,
         w.environment_id <> e.id as workspace_elsewhere,
         array(select h.slot from environment_leases h
           where h.environment_id = e.id and h.held_until is null and h.slot is not null) as slots
       from (select ?::uuid as company_id, ?::uuid as environment_id, ?::uuid as execution_workspace_id,
         coalesce(?::timestamptz, clock_timestamp()) as since) x
       join environments e on e.id = x.environment_id
       left join execution_workspaces w on w.id = x.execution_workspace_id`,
      [companyId, environmentId, executionWorkspaceId, place?.since.toISOString() ?? null],
    );
    return target;
  }

  /** Its holder brings what it needs: no place is made for it. */
  private requestFor(
    wish: LeaseWish,
    environment: ChosenEnvironment,
    { mode, slots }: Target,
    run: HoldingRun | null,
  ): LeaseRequest {
    const { companyId, environmentId, executionWorkspaceId, heartbeatRunId, holder } = wish;
    const lifetimeSec = run?.lifetimeSec ?? this.config.leaseMaxLifetimeSec;
    return {
      ...{ id: newId(), companyId, environmentId, executionWorkspaceId, heartbeatRunId, holder },
      driver: environment.driver,
      workspaceMode: mode,
      issueId: run?.issueId ?? null,
      agentId: run?.agentId ?? null,
      runLeaseId: run?.leaseId ?? null,
      leasePolicy: 'ephemeral',
      slot: environment.capacity === null ? null : lowestFree(new Set(slots)),
      placeId: null,
      providerLeaseId: null,
      runnerId: null,
      host: null,
      ttlSec: wish.ttlSec ?? lifetimeSec,
      lifetimeSec,
    };
  }
}

const warmIn = ({ kept }: ChosenEnvironment) => kept.filter(({ state }) => state === 'warm').map(({ id }) => id);

function assertTakesLeases({ name, deleted, status }: ChosenEnvironment): void {
  if (deleted) throw new UnusableTargetError('environment_deleted', `The environment "${name}" was deleted`);
  if (status === 'archived')
    throw new UnusableTargetError('environment_archived', `The environment "${name}" is archived`);
}

function assertUsable({ workspace_archived, workspace_elsewhere }: Target): void {
  if (workspace_elsewhere)
    throw new UnusableTargetError('workspace_elsewhere', 'The workspace belongs to another environment');
  if (workspace_archived) throw new UnusableTargetError('workspace_archived', 'The workspace is archived');
}
