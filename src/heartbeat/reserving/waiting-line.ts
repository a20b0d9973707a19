import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger, type BeforeApplicationShutdown } from '@nestjs/common';
import { DatabaseNotifications } from '../../database/notifications.js';
import { DispatchTriggers } from '../execution/dispatch-triggers.js';
import { Nudge } from '../execution/nudge.js';
import { ROOM_CHANNEL, STARTS_CHANNEL } from '../execution/runner.js';
import type { QueuePlace } from './grant-lease.js';
import { LeaseRequests } from './lease-requests.js';
import type { LeaseWish } from './lease-wish.js';
import { NoRoomToWaitError } from './reserving-errors.js';

/** A notification that was lost is made up for by looking after this time, in milliseconds. */
const POLL_MS = 1000;
/** However often something happens, it is not looked at more often than this, in milliseconds. */
const SHORTEST_MS = 50;
/** Most callers who wait in this process. */
const MAX_HERE = 500;

/** Somebody who waits in this process. */
interface Waiter {
  readonly place: QueuePlace;
  readonly heartbeatRunId: string | null;
  readonly nudge: Nudge;
}

/** What a caller does at each of its chances. */
export interface Chances<T> {
  /** @returns what it waited for, or null to go on waiting. */
  readonly attempt: (place: QueuePlace) => Promise<T | null>;
  /** @returns why it got nothing, once the wait is over. */
  readonly giveUp: (place: QueuePlace) => Promise<Error>;
}

/**
 * Lets callers wait for leases. One loop looks for all of them, whenever something was committed that may let one go on;
 * each then tries for itself. No transaction is open while they wait.
 */
@Injectable()
export class WaitingLine implements BeforeApplicationShutdown {
  private readonly logger = new Logger(WaitingLine.name);
  private readonly waiters = new Map<string, Waiter>();
  private readonly changes = new Nudge();
  private loop: Promise<void> | null = null;
  private here = 0;
  private stopping = false;

  constructor(
    private readonly requests: LeaseRequests,
    private readonly notifications: DatabaseNotifications,
    private readonly triggers: DispatchTriggers,
  ) {}

  /** Refuses whoever waits: it can go on waiting at another process. */
  async beforeApplicationShutdown(): Promise<void> {
    this.stopping = true;
    this.changes.all();
    for (const { nudge } of this.waiters.values()) nudge.all();
    await this.loop;
  }

  /**
   * Waits in the queue until an attempt succeeds.
   * @param gone aborted when nobody waits for the answer any more.
   * @throws whatever an attempt throws, what `giveUp` returns, TooManyWaitingError, NoRoomToWaitError
   */
  async wait<T>(wish: LeaseWish, waitSec: number, gone: AbortSignal, chances: Chances<T>): Promise<T> {
    if (this.stopping) throw NoRoomToWaitError.shuttingDown();
    if (this.here >= MAX_HERE) throw NoRoomToWaitError.busy();
    this.here += 1;
    try {
      const place = await this.requests.begin(wish, waitSec);
      const waiter = { place, heartbeatRunId: wish.heartbeatRunId, nudge: new Nudge() };
      this.waiters.set(place.id, waiter);
      this.changes.all();
      this.loop ??= this.look();
      return await this.attempts(waiter, performance.now() + waitSec * 1000, gone, chances).finally(() =>
        this.leave(place),
      );
    } finally {
      this.here -= 1;
    }
  }

  /** Tries at once, at each nudge, and a last time when the wait is over. */
  private async attempts<T>(
    { place, nudge }: Waiter,
    until: number,
    gone: AbortSignal,
    { attempt, giveUp }: Chances<T>,
  ): Promise<T> {
    gone.addEventListener('abort', () => nudge.all(), { once: true });
    for (;;) {
      const { count } = nudge;
      const leftMs = until - performance.now();
      const granted = await attempt(place);
      if (granted !== null) return granted;
      if (leftMs > 0 && !gone.aborted && !this.stopping) await nudge.since(count, leftMs);
      if (this.stopping) throw NoRoomToWaitError.shuttingDown();
      if (leftMs <= 0 || gone.aborted) throw await giveUp(place);
    }
  }

  /** Whoever waits behind may go on. A row that cannot be removed now does not count any more in a few seconds. */
  private async leave(place: QueuePlace): Promise<void> {
    this.waiters.delete(place.id);
    await this.requests.leave(place).catch((error: unknown) => {
      this.logger.warn({ err: error }, 'A request for a lease could not be removed; it runs out');
    });
    this.triggers.aRunMayStart();
  }

  private async look(): Promise<void> {
    const heard = [STARTS_CHANNEL, ROOM_CHANNEL].map((channel) => {
      return this.notifications.listen(channel, () => this.changes.all());
    });
    while (this.waiters.size > 0 && !this.stopping) {
      const { count } = this.changes;
      await Promise.all([this.nudgeWhoMayGo(), delay(SHORTEST_MS)]);
      await this.changes.since(count, POLL_MS);
    }
    for (const unlisten of heard) unlisten();
    this.loop = null;
  }

  private async nudgeWhoMayGo(): Promise<void> {
    const own = [...this.waiters.values()].map(({ place: { id }, heartbeatRunId }) => ({ id, heartbeatRunId }));
    try {
      for (const id of await this.requests.look(own)) this.waiters.get(id)?.nudge.all();
    } catch (error) {
      this.logger.warn({ err: error }, 'Could not look for those who wait for leases; trying again');
    }
  }
}
