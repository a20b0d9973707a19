import { Injectable, Logger, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { IdempotencyKeys } from './idempotency-keys.js';

const PERIOD_MS = 10 * 60_000;
const BATCH = 1000;

/** Removes answers that nobody can ask for again, a batch at a time. */
@Injectable()
export class IdempotencySweep implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = new Logger(IdempotencySweep.name);
  private timer: NodeJS.Timeout | undefined;
  private sweeping: Promise<void> = Promise.resolve();
  private stopped = false;

  constructor(private readonly keys: IdempotencyKeys) {}

  onApplicationBootstrap(): void {
    this.timer = setInterval(() => {
      this.sweeping = this.sweep();
    }, PERIOD_MS);
    this.timer.unref();
  }

  async onModuleDestroy(): Promise<void> {
    this.stopped = true;
    clearInterval(this.timer);
    await this.sweeping;
  }

  /** Never throws: the next period tries again. */
  async sweep(): Promise<void> {
    try {
      while (!this.stopped && (await this.keys.forgetOld(BATCH)) === BATCH);
    } catch (error) {
      this.logger.warn({ err: error }, 'Old idempotency keys could not be removed');
    }
  }
}
