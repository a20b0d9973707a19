import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger } from '@nestjs/common';
import { isConnectionLost } from '../../database/database-errors.js';
import type { EnvironmentDriver, RealisedPlace } from '../../environments/drivers/environment-driver.port.js';
import { systemActor } from '../../events/actor.js';
import { runInScope } from '../../events/request-scope.js';
import { LeaseLostError } from '../../leases/lease-errors.js';
import { MAX_REALISE_SEC } from '../../leases/places/begin-places.js';
import { SettlePlaces } from '../../leases/places/settle-places.js';
import type { ClaimedRun } from '../runs/claimed-run.js';
import { RunnerIdentity } from '../runs/runner-identity.js';
import { RunningRuns } from './running-runs.js';

/** Between attempts to record that a place is ready, in milliseconds. */
const PAUSE_MS = 200;

/** Has the driver make a claimed run's place ready. The claim has named it, so that nothing is made that nobody knows of. */
@Injectable()
export class RealisePlace {
  private readonly logger = new Logger(RealisePlace.name);

  constructor(
    private readonly places: SettlePlaces,
    private readonly running: RunningRuns,
    private readonly identity: RunnerIdentity,
  ) {}

  /** @throws LeaseLostError when the lease is lost meanwhile; whatever the driver throws, and when its time is up. */
  async realise(run: ClaimedRun, driver: EnvironmentDriver): Promise<RealisedPlace> {
    // A runner that was frozen since its claim must not begin to make what may have been taken down.
    if (this.running.isLost(run)) throw new LeaseLostError(run.lease.id);
    const signal = AbortSignal.any([this.running.signalOf(run), AbortSignal.timeout(MAX_REALISE_SEC * 1000)]);
    const { id: leaseId } = run.lease;
    const { config } = run.environment;
    const { place, companyId } = run;
    const workspaceCwd = run.workspace?.cwd ?? null;
    const request = { leaseId, companyId, config, workspaceCwd, facts: place && place.facts };
    if (!place) return driver.realise(request, signal);
    try {
      const realised = await driver.realise(request, signal);
      if (!place.takenOver && (await this.isReady(run, place.id, realised))) return realised;
      if (await this.settle(run, place, driver)) return realised;
    } catch (error) {
      await this.settle(run, place, driver);
      throw error;
    }
    this.running.stop(run.id, 'lease_lost');
    throw new LeaseLostError(leaseId);
  }

  /** Tried until it is answered or the lease is lost: it may be repeated. */
  private async isReady(run: ClaimedRun, placeId: string, { providerLeaseId }: RealisedPlace): Promise<boolean> {
    const scope = { actor: systemActor(`runner:${this.identity.id}`), requestId: null };
    while (!this.running.isLost(run)) {
      try {
        return await runInScope(scope, () => this.places.ready(placeId, run.lease, providerLeaseId));
      } catch (error) {
        if (!isConnectionLost(error)) throw error;
        await delay(PAUSE_MS);
      }
    }
    return false;
  }

  /**
   * Says that nobody makes the place any more, so that it can be concluded to be gone before its time is up. What already
   * counts as gone has been made again: whoever did that takes it down.
   * @returns whether the lease still has the place.
   */
  private async settle(
    run: ClaimedRun,
    place: NonNullable<ClaimedRun['place']>,
    driver: EnvironmentDriver,
  ): Promise<boolean> {
    try {
      const state = await this.places.settled(place.id, run.lease.id);
      if (state === 'gone') await driver.teardown(place.facts, AbortSignal.timeout(MAX_REALISE_SEC * 1000));
      return state === 'in_use';
    } catch (error) {
      this.logger.warn({ err: error, runId: run.id, placeId: place.id }, 'It was not recorded that a place is settled');
      return place.takenOver;
    }
  }
}
