import { Injectable } from '@nestjs/common';
import { Server, type CustomTransportStrategy } from '@nestjs/microservices';
import { lastValueFrom } from 'rxjs';
import { ExecutionSlot } from './execution-slot.js';

/** The one message of this transport. */
export const EXECUTE = 'heartbeat.execute';

/**
 * Carries free slots to the execution handler inside this process. Nest runs interceptors around message handlers and
 * not around plain calls, so this is the only way in: whatever executes a run has passed the lease interceptor.
 */
@Injectable()
export class ExecutionServer extends Server implements CustomTransportStrategy {
  listen(callback: () => void): void {
    callback();
  }

  close(): void {}

  on(): never {
    throw new Error('This transport emits no events');
  }

  unwrap<T>(): T {
    return this as unknown as T;
  }

  /**
   * @param onMore told when there is something to execute, and may be more.
   * @returns the slot; without a run where there was nothing.
   */
  async dispatch(onMore?: () => void): Promise<ExecutionSlot> {
    const slot = new ExecutionSlot(onMore);
    // By the route itself: `getHandlerByPattern` takes it for JSON first, and throws an error for each call.
    const handler = this.messageHandlers.get(EXECUTE);
    if (!handler) throw new Error(`Nothing handles ${EXECUTE}`);
    const answer = this.transformToObservable(await handler(undefined, slot));
    await lastValueFrom(answer, { defaultValue: undefined });
    return slot;
  }
}
