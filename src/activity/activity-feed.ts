import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { DatabaseNotifications } from '../database/notifications.js';
import type { DomainEvent } from '../events/domain-event.js';
import { AfterCommit } from '../events/listeners.js';

const CHANNEL = 'berth_activity';

/** Somebody who waits for a company's record to grow. */
export class FeedSubscription {
  private grown = false;
  private wake: (() => void) | undefined;

  constructor(
    readonly companyId: string,
    private readonly onEnd: (subscription: FeedSubscription) => void,
  ) {}

  /** Returns once the record may have grown since the last call, when `ms` are over, or when `stop` is aborted. */
  async grew(ms: number, stop: AbortSignal): Promise<void> {
    if (!this.grown && !stop.aborted) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
        stop.addEventListener('abort', this.wake, { once: true });
      });
      if (this.wake) stop.removeEventListener('abort', this.wake);
      this.wake = undefined;
    }
    this.grown = false;
  }

  grow(): void {
    this.grown = true;
    this.wake?.();
  }

  end(): void {
    this.onEnd(this);
  }
}

/** Tells streams when to look: at once for commits of this process, and when another process announces some. */
@Injectable()
export class ActivityFeed implements OnApplicationBootstrap {
  private readonly subscriptions = new Set<FeedSubscription>();

  constructor(private readonly notifications: DatabaseNotifications) {}

  onApplicationBootstrap(): void {
    this.notifications.listen(CHANNEL, (byThisProcess) => {
      if (byThisProcess) return;
      for (const subscription of this.subscriptions) subscription.grow();
    });
  }

  @AfterCommit('every event')
  announce(event: DomainEvent): void {
    this.notifications.notify(CHANNEL);
    for (const subscription of this.subscriptions) {
      if (subscription.companyId === event.companyId) subscription.grow();
    }
  }

  subscribe(companyId: string): FeedSubscription {
    const subscription = new FeedSubscription(companyId, (ended) => this.subscriptions.delete(ended));
    this.subscriptions.add(subscription);
    return subscription;
  }
}
