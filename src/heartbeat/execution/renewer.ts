import { Injectable, Logger } from '@nestjs/common';
import { BerthConfig } from '../../config/config.js';
import { bootClock } from '../../environments/drivers/guard/boot-clock.js';
import { RenewLeases } from '../../leases/renew-leases.js';
import { RunningRuns } from './running-runs.js';

/** Keeps the leases of this process's runs alive, and stops runs whose lease somebody else has ended. */
@Injectable()
export class Renewer {
  private readonly logger = new Logger(Renewer.name);

  constructor(
    private readonly leases: RenewLeases,
    private readonly running: RunningRuns,
    private readonly config: BerthConfig,
  ) {}

  /**
   * Renews all leases with one statement once a third of the life of any has passed; called several times in that. While
   * the database cannot be reached each call tries again.
   */
  async tick(): Promise<void> {
    const ttlMs = this.config.leaseTtlSec * 1000;
    const sentAt = bootClock();
    const runs = this.running.heldOnceDue(sentAt + (ttlMs * 2) / 3);
    if (runs.length === 0) return;
    try {
      const held = runs.map(({ lease }) => lease);
      const lost = await this.leases.renew(held, this.config.leaseTtlSec);
      for (const { id, lease } of runs) if (lost.has(lease.id)) this.running.stop(id, 'lease_lost');
      this.running.extend(
        runs.filter(({ lease }) => !lost.has(lease.id)),
        sentAt + ttlMs,
      );
    } catch (error) {
      this.logger.warn({ err: error, leases: runs.length }, 'Leases could not be renewed; trying again');
    }
  }
}
