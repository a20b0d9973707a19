import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger, type BeforeApplicationShutdown } from '@nestjs/common';
import { BerthConfig } from '../../config/config.js';
import { DatabaseNotifications } from '../../database/notifications.js';
import { Guards } from '../../environments/drivers/guard/guards.js';
import { RunnerIdentity } from '../runs/runner-identity.js';
import { DueStops } from './due-stops.js';
import { ExecutionServer } from './execution.server.js';
import { Nudge } from './nudge.js';
import { Renewer } from './renewer.js';
import { RunnerRegistry } from './runner-registry.js';
import { RunningRuns } from './running-runs.js';

/** A notification that was lost is made up for by looking after this time, in milliseconds. */
const POLL_MS = 1000;
/** While stopping, runs that a slot was just claiming are found this often, in milliseconds. */
const STOP_POLL_MS = 50;
/** Slots that are woken when one finds something to start and there may be more of it. */
const WOKEN_BY_A_START = 2;
/** How often at least the renewer is called in the life of a lease. */
const CALLS_PER_LEASE = 6;

/** Room that was made elsewhere is left to whoever made it for so long, in milliseconds. */
const ROOM_ELSEWHERE_MS = 250;

/** Channel on which processes tell each other that a run may be able to start. */
export const STARTS_CHANNEL = 'berth_starts';
/** Channel on which a process says that there may be room for a run, and that a slot of its own looks for one. */
export const ROOM_CHANNEL = 'berth_room';
/** Channel on which processes tell each other that somebody wants a running run to stop. */
export const STOPS_CHANNEL = 'berth_stops';

/** Executes runs in this process's slots, from application start until it is asked to stop. */
@Injectable()
export class Runner implements BeforeApplicationShutdown {
  private readonly logger = new Logger(Runner.name);
  private readonly starts = new Nudge();
  private readonly stops = new Nudge();
  private roomElsewhere: NodeJS.Timeout | undefined;
  /** A slot was woken in this turn of the event loop: it looks after all that was committed by then. */
  private looks = false;
  private draining = false;
  private stopping = false;
  private slotsClosed = false;
  private slots: Promise<void> = Promise.resolve();
  private watcher: Promise<void> = Promise.resolve();

  constructor(
    private readonly server: ExecutionServer,
    private readonly running: RunningRuns,
    private readonly renewer: Renewer,
    private readonly dueStops: DueStops,
    private readonly registry: RunnerRegistry,
    private readonly identity: RunnerIdentity,
    private readonly guards: Guards,
    private readonly notifications: DatabaseNotifications,
    private readonly config: BerthConfig,
  ) {}

  /** Begins to claim and execute; called once everything listens. */
  start(): void {
    this.notifications.listen(STARTS_CHANNEL, (byThisProcess) => byThisProcess || this.lookForStarts());
    this.notifications.listen(ROOM_CHANNEL, (byThisProcess) => byThisProcess || this.lookForStartsSoon());
    this.notifications.listen(STOPS_CHANNEL, (byThisProcess) => byThisProcess || this.lookForStops());
    this.slots = this.work();
    this.watcher = this.watch();
  }

  /**
   * A run may be able to start now: one slot looks, and wakes others where there is more to do.
   * @returns whether a slot was free for it. Several events of one commit need one.
   */
  lookForStarts(): boolean {
    clearTimeout(this.roomElsewhere);
    this.roomElsewhere = undefined;
    if (this.starts.one()) {
      this.looks = true;
      setImmediate(() => (this.looks = false));
    }
    return this.looks;
  }

  /** Once for all that is said of it meanwhile, or every end of a run would make every runner look. */
  private lookForStartsSoon(): void {
    this.roomElsewhere ??= setTimeout(() => this.lookForStarts(), ROOM_ELSEWHERE_MS).unref();
  }

  /** A running run may have to stop now, or have been ended by somebody else. */
  lookForStops(): void {
    this.dueStops.expectEnds();
    this.stops.all();
  }

  /**
   * Claims nothing new, and lets what runs end by itself. The rest of the process works on meanwhile: runs are renewed,
   * can be cancelled, and can reach the API.
   * @param enough ends the wait before its time (`BERTH_DRAIN_SEC`) is over.
   */
  async drain(enough: AbortSignal): Promise<void> {
    this.claimNothing();
    const { drainSec } = this.config;
    const running = this.running.all().length;
    if (running > 0) {
      this.logger.log({ running, drainSec }, 'Asked to stop: waiting for runs to end; asked again, it ends them');
    }
    const over = delay(drainSec * 1000, undefined, { signal: enough, ref: false }).catch(() => undefined);
    await Promise.race([this.slots, over]);
  }

  /** Claims nothing new, stops what runs so that it is retried elsewhere at once, and waits until that is recorded. */
  async beforeApplicationShutdown(): Promise<void> {
    this.stopping = true;
    this.claimNothing();
    for (const { id } of this.running.all()) this.running.stop(id, 'runner_shutdown');
    this.stops.all();
    await Promise.all([this.slots, this.watcher]);
    await Promise.all([this.registry.stop(), this.guards.stop()]);
  }

  private claimNothing(): void {
    this.draining = true;
    this.registry.drain();
    this.starts.all();
  }

  /** Who claims is known before, and what its predecessors left here has ended. */
  private async work(): Promise<void> {
    await Promise.all([this.registry.start(), this.guards.start(this.identity.id)]);
    await Promise.all(Array.from({ length: this.config.runnerSlots }, () => this.workSlot()));
    this.slotsClosed = true;
  }

  private async workSlot(): Promise<void> {
    while (!this.draining) {
      const seen = this.starts.count;
      const worked = await this.dispatch();
      if (!worked && !this.draining) await this.starts.since(seen, POLL_MS);
    }
  }

  /** @returns whether there was something to execute. */
  private async dispatch(): Promise<boolean> {
    try {
      return (await this.server.dispatch(() => this.starts.wake(WOKEN_BY_A_START))).run !== null;
    } catch (error) {
      this.logger.error({ err: error }, 'A slot could not be filled');
      await delay(POLL_MS);
      return false;
    }
  }

  /** Renews leases and looks for what has to stop, until no slot can claim or hold a run any more. */
  private async watch(): Promise<void> {
    const periodMs = Math.min(POLL_MS, (this.config.leaseTtlSec * 1000) / CALLS_PER_LEASE);
    while (!this.slotsClosed) {
      const seen = this.stops.count;
      if (this.stopping) for (const { id } of this.running.all()) this.running.stop(id, 'runner_shutdown');
      await this.renewer.tick();
      await this.dueStops.stop().catch((error: unknown) => {
        this.logger.warn({ err: error }, 'Cancel wishes and time limits could not be read; trying again');
      });
      await this.stops.since(seen, this.stopping ? STOP_POLL_MS : periodMs);
    }
  }
}
