import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger, type BeforeApplicationShutdown } from '@nestjs/common';
import { isConnectionLost } from '../../database/database-errors.js';
import { DatabaseNotifications } from '../../database/notifications.js';
import { Quarantine } from '../../database/restore/quarantine.js';
import { DriverRegistry } from '../../environments/drivers/driver-registry.js';
import { ThisHost } from '../../environments/this-host.js';
import { systemActor } from '../../events/actor.js';
import { AfterCommit } from '../../events/listeners.js';
import { runInScope } from '../../events/request-scope.js';
import { CleanUpPlaces, type CleanUpAttempt } from './clean-up-places.js';
import { PlaceChanged, PlaceCleaning } from './places.events.js';

/** A notification that was lost is made up for by looking after this time, in milliseconds. */
const PERIOD_MS = 1000;
/** How long one attempt at taking a place down may take, in seconds. */
const ATTEMPT_SEC = 120;
/** How many places a process takes down at once. */
const AT_ONCE = 8;
/** Most places that are given up together. */
const PAGE = 100;
/** How long a process that ends goes on taking places down, in milliseconds. */
const LAST_ATTEMPTS_MS = 5_000;
/** How soon it is said again what an attempt came to, where the database did not take it, in milliseconds. */
const REPORT_AGAIN_MS = 1000;
const MAX_DELAY_SEC = 300;

/** Channel on which processes tell each other that there is a place to take down. */
const PLACES_CHANNEL = 'berth_places';

/** Takes down the places that nobody uses any more, in every process, from application start to its end. */
@Injectable()
export class PlaceSweeper implements BeforeApplicationShutdown {
  private readonly logger = new Logger(PlaceSweeper.name);
  private readonly underWay = new Set<Promise<void>>();
  private readonly stopped = new AbortController();
  private readonly aborted = new AbortController();
  private nudged = new AbortController();
  private loop: Promise<void> = Promise.resolve();

  constructor(
    private readonly places: CleanUpPlaces,
    private readonly drivers: DriverRegistry,
    private readonly host: ThisHost,
    private readonly quarantine: Quarantine,
    private readonly notifications: DatabaseNotifications,
  ) {}

  /** Begins in the background; called once everything listens. */
  start(): void {
    this.notifications.listen(PLACES_CHANNEL, (byThisProcess) => byThisProcess || this.nudge());
    this.loop = this.sweepUntilStopped();
  }

  /** Takes down what the last runs of this process left, as far as that goes quickly. */
  async beforeApplicationShutdown(): Promise<void> {
    this.stopped.abort();
    await this.loop;
    const timer = setTimeout(() => this.aborted.abort(new Error('The process is stopping')), LAST_ATTEMPTS_MS);
    await this.settled();
    clearTimeout(timer);
  }

  @AfterCommit(PlaceCleaning)
  @AfterCommit(PlaceChanged)
  aPlaceIsToBeTakenDown(): void {
    this.nudge();
    this.notifications.notify(PLACES_CHANNEL);
  }

  /** One pass: begins as many attempts as this process makes at once. */
  sweep(): Promise<void> {
    return runInScope({ actor: systemActor('sweeper'), requestId: null }, async () => {
      if (await this.quarantine.isActive()) return;
      await this.giveUpKept();
      const free = AT_ONCE - this.underWay.size;
      if (free === 0) return;
      for (const attempt of await this.places.take(this.host.id, free, ATTEMPT_SEC)) {
        const made = this.make(attempt);
        this.underWay.add(made);
        // There may be more places than were attempted at once.
        void made.finally(() => this.underWay.delete(made) && this.nudge());
      }
    });
  }

  /** Resolves when no attempt of this process is under way. */
  async settled(): Promise<void> {
    while (this.underWay.size > 0) await Promise.all(this.underWay);
  }

  private nudge(): void {
    this.nudged.abort();
  }

  /** The pass after the stop is the last one. */
  private async sweepUntilStopped(): Promise<void> {
    for (let last = false; !last;) {
      last = this.stopped.signal.aborted;
      this.nudged = new AbortController();
      await this.sweep().catch((error: unknown) => {
        this.logger.warn({ err: error }, 'Places to take down could not be looked for; trying again');
      });
      const signal = AbortSignal.any([this.nudged.signal, this.stopped.signal]);
      if (!last) await delay(PERIOD_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  private async giveUpKept(): Promise<void> {
    let page = await this.places.kept(null, PAGE);
    while (page.length > 0) {
      await this.giveUp(page);
      page = await this.places.kept(page.at(-1)!, PAGE);
    }
  }

  /** Together; where that fails, each alone, so that one bad row keeps no other from it. */
  private async giveUp(ids: string[]): Promise<void> {
    try {
      await this.places.giveUp(ids);
    } catch (error) {
      if (isConnectionLost(error)) throw error;
      if (ids.length > 1) for (const id of ids) await this.giveUp([id]);
      else this.logger.error({ err: error, placeId: ids[0] }, 'A place that is kept for nothing could not be given up');
    }
  }

  /** Never throws: what an attempt came to is kept with its place. */
  private async make(attempt: CleanUpAttempt): Promise<void> {
    const timeUp = AbortSignal.timeout(ATTEMPT_SEC * 1000);
    const signal = AbortSignal.any([timeUp, this.aborted.signal]);
    let report: () => Promise<void>;
    try {
      await this.drivers.get(attempt.driver).teardown(attempt.facts, signal);
      report = () => this.places.takenDown(attempt);
    } catch (error) {
      this.logger.warn(
        { err: error, placeId: attempt.id, attempt: attempt.attempt },
        'A place could not be taken down',
      );
      const message = timeUp.aborted ? `It took longer than ${ATTEMPT_SEC} seconds` : messageOf(error);
      report = () => this.places.failed(attempt, message, delaySec(attempt.attempt));
    }
    while (!(await this.reported(attempt, report)) && !signal.aborted) await delay(REPORT_AGAIN_MS);
  }

  /** It may be said again, whether or not it was taken in. */
  private async reported({ id }: CleanUpAttempt, report: () => Promise<void>): Promise<boolean> {
    try {
      await report();
      return true;
    } catch (error) {
      this.logger.error({ err: error, placeId: id }, 'What an attempt at taking a place down came to was not recorded');
      return false;
    }
  }
}

/** From one second on twice as long each time, more or less, so that what failed together is not tried together. */
const delaySec = (attempt: number) => Math.min(2 ** (attempt - 1), MAX_DELAY_SEC) * (0.5 + Math.random() / 2);

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
