import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { CompaniesService } from '../../companies/companies.service.js';
import { inTransaction } from '../../database/transaction.js';
import { NotFoundError } from '../../errors/domain-error.js';
import { SlotTakenError, WorkspaceOccupiedError } from '../../leases/lease-errors.js';
import type { EnvironmentLease } from '../../leases/environment-lease.entity.js';
import { LeasesService } from '../../leases/leases.service.js';
import { BeginPlaces } from '../../leases/places/begin-places.js';
import { ChosenEnvironments } from '../claiming/chosen-environments.js';
import { GrantLease, type QueuePlace } from './grant-lease.js';
import type { LeaseWish } from './lease-wish.js';
import { Refusals } from './refusals.js';
import { ObstructedError } from './reserving-errors.js';
import { WaitingLine } from './waiting-line.js';

/** Who wants the lease, as far as that decides how it is given to him. */
export interface Asker<T> {
  /** How long he waits for it, in seconds; 0 for not at all. */
  readonly waitSec: number;
  /** Aborted when he has gone and would not hear of it. */
  readonly gone: AbortSignal;
  /** Whether he can ask again and be answered the same; otherwise what he never heard of is released. */
  readonly canAskAgain: boolean;
  /** Throws once he may not have it any more, however long he has waited. */
  readonly recheck: () => Promise<unknown>;
  /** Wraps each attempt: its transaction, or one around it, keeps what he is answered. */
  readonly carryOut: (grant: () => Promise<EnvironmentLease>) => Promise<T>;
}

/** Gives leases to holders outside, and further ones to running runs, in one queue with the runs that wait. */
@Injectable()
export class ReservationsService {
  constructor(
    private readonly em: EntityManager,
    private readonly companies: CompaniesService,
    private readonly grants: GrantLease,
    private readonly line: WaitingLine,
    private readonly refusals: Refusals,
    private readonly environments: ChosenEnvironments,
    private readonly places: BeginPlaces,
    private readonly leases: LeasesService,
  ) {}

  /**
   * Acquires a lease once its turn has come. What is granted or refused at once takes no place in the queue.
   * @param asker whoever waits is looked at again before each attempt.
   * @throws NotFoundError, CompanyArchivedError, UnusableTargetError, RunNotRunningError, NotGrantedError,
   *   TooManyWaitingError, NoRoomToWaitError, and what `asker.recheck` throws
   */
  async acquire<T>(wish: LeaseWish, asker: Asker<T>): Promise<T> {
    await this.assertKnown(wish);
    const first = await this.attempt(wish, null, asker);
    if (!(first instanceof ObstructedError)) return first;
    if (asker.waitSec === 0) throw await this.refusals.of(wish, null, first.obstacle);
    let last = first.obstacle;
    const { result } = await this.line.wait(wish, asker.waitSec, asker.gone, {
      attempt: async (place) => {
        await asker.recheck();
        const result = await this.attempt(wish, place, asker);
        if (!(result instanceof ObstructedError)) return { result };
        last = result.obstacle;
        return null;
      },
      giveUp: (place) => this.refusals.of(wish, place, last),
    });
    return result;
  }

  /** @returns what keeps it, if that may pass. */
  private async attempt<T>(wish: LeaseWish, place: QueuePlace | null, asker: Asker<T>): Promise<T | ObstructedError> {
    let granted: EnvironmentLease | undefined;
    try {
      const answer = await asker.carryOut(async () => (granted = await this.grants.grant(wish, place)));
      if (granted && asker.gone.aborted && !asker.canAskAgain) {
        await this.leases.release(granted.id, 'Its caller had gone before it was granted', granted.fencingToken);
      }
      return answer;
    } catch (error) {
      const obstructed = obstructedBy(error);
      await this.makeRoom(wish.environmentId, obstructed.warmPlaceIds);
      return obstructed;
    }
  }

  /** A warm place gives way to whoever comes and does not use it; the attempt that found it has been rolled back. */
  private async makeRoom(environmentId: string, warmPlaceIds: string[]): Promise<void> {
    if (warmPlaceIds.length === 0) return;
    await inTransaction(this.em, async () => {
      const environment = (await this.environments.hold([environmentId])).get(environmentId);
      // While one is being taken down its room comes free by itself: no other one has to go for it.
      if (!environment || environment.givingWay > 0) return;
      const coldest = environment.kept.findLast(({ id, state }) => state === 'warm' && warmPlaceIds.includes(id));
      if (coldest) await this.places.evict([coldest.id]);
    });
  }

  /** What belongs to another company is not known to this one; neither changes its company. */
  private async assertKnown({ companyId, environmentId, executionWorkspaceId, heartbeatRunId }: LeaseWish) {
    await this.companies.assertExists(companyId);
    const [known] = await this.em.execute<[Record<'environment' | 'workspace' | 'run', boolean>]>(
      `select exists (select 1 from environments where company_id = c.id and id = ?) as environment,
         exists (select 1 from execution_workspaces where company_id = c.id and id = ?) as workspace,
         exists (select 1 from heartbeat_runs where company_id = c.id and id = ?) as run
       from (select ?::uuid as id) c`,
      [environmentId, executionWorkspaceId, heartbeatRunId, companyId],
    );
    if (!known.environment) throw new NotFoundError('Environment');
    if (executionWorkspaceId && !known.workspace) throw new NotFoundError('Execution workspace');
    if (heartbeatRunId && !known.run) throw new NotFoundError('Run');
  }
}

/** @throws the error itself where waiting would not help. */
function obstructedBy(error: unknown): ObstructedError {
  if (error instanceof ObstructedError) return error;
  if (error instanceof WorkspaceOccupiedError) return new ObstructedError('workspace_occupied');
  if (error instanceof SlotTakenError) return new ObstructedError('environment_at_capacity');
  throw error;
}
