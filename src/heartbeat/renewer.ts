import { Injectable, Logger } from '@nestjs/common';
import { BerthConfig } from '../config/config.js';
import { RenewLeases } from '../leases/renew-leases.js';
import { RunningRuns } from './running-runs.js';

/** Keeps the leases of this process's runs alive, and stops runs whose lease is gone. */
@Injectable()
export class Renewer {
  private readonly logger = new Logger(Renewer.name);
  private nextAt = 0;

  constructor(
    private readonly leases: RenewLeases,
    private readonly running: RunningRuns,
    private readonly config: BerthConfig,
  ) {}

  /**
   * Renews all leases with one statement if a third of their life has passed; called every second. While the database
   * cannot be reached each call tries again, and runs past their deadline are stopped.
   */
  async tick(): Promise<void> {
    this.stopOverdue();
    const sentAt = performance.now();
    const runs = this.running.all();
    if (runs.length === 0 || sentAt < this.nextAt) return;
    try {
      const { leaseTtlSec } = this.config;
      const renewed = await this.leases.renew(
        runs.map(({ lease }) => lease),
        leaseTtlSec,
      );
      for (const { id, lease } of runs) {
        if (renewed.has(lease.id)) this.running.extend(id, sentAt + leaseTtlSec * 1000);
        else this.running.stop(id, 'lease_lost');
      }
      this.nextAt = sentAt + (leaseTtlSec * 1000) / 3;
    } catch (error) {
      this.logger.warn({ err: error, leases: runs.length }, 'Leases could not be renewed; trying again');
      this.stopOverdue();
    }
  }

  private stopOverdue(): void {
    for (const run of this.running.all()) {
      if (this.running.isLost(run)) this.running.stop(run.id, 'lease_lost');
    }
  }
}
