import { Injectable, Logger } from '@nestjs/common';
import { DriverRegistry } from '../../environments/drivers/driver-registry.js';
import type { ExecutionSlot } from './execution-slot.js';

/** Takes down what an execution left, after its end has been recorded. */
@Injectable()
export class CleanUp {
  private readonly logger = new Logger(CleanUp.name);

  constructor(private readonly drivers: DriverRegistry) {}

  /** Never fails the run: that is over by now. */
  async takeDown({ run, place }: ExecutionSlot): Promise<void> {
    if (!run || !place) return;
    try {
      await this.drivers.get(run.environment.driver).teardown(place);
    } catch (error) {
      this.logger.error({ err: error, runId: run.id, leaseId: run.lease.id }, 'A place could not be taken down');
    }
  }
}
