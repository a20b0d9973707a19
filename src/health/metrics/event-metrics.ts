import { Injectable } from '@nestjs/common';
import { AfterCommit } from '../../events/listeners.js';
import {
  HeartbeatCancelled,
  HeartbeatFailed,
  HeartbeatStarted,
  HeartbeatSucceeded,
  HeartbeatTimedOut,
} from '../../heartbeat/runs/heartbeat.events.js';
import { LeaseAcquired, LeaseExpired, LeaseFailed, LeaseReleased } from '../../leases/leases.events.js';
import { Metrics } from '../../metrics/metrics.js';

/** Counts the beginnings and ends of runs and leases once they are committed, by what the record says of them. */
@Injectable()
export class EventMetrics {
  constructor(private readonly metrics: Metrics) {}

  @AfterCommit(HeartbeatStarted)
  runStarted(): void {
    this.metrics.runsStarted.inc();
  }

  @AfterCommit(HeartbeatSucceeded)
  runSucceeded(): void {
    this.metrics.runsEnded.inc({ status: 'succeeded' });
  }

  @AfterCommit(HeartbeatFailed)
  runFailed(): void {
    this.metrics.runsEnded.inc({ status: 'failed' });
  }

  @AfterCommit(HeartbeatTimedOut)
  runTimedOut(): void {
    this.metrics.runsEnded.inc({ status: 'timed_out' });
  }

  @AfterCommit(HeartbeatCancelled)
  runCancelled(): void {
    this.metrics.runsEnded.inc({ status: 'cancelled' });
  }

  @AfterCommit(LeaseAcquired)
  leaseAcquired(): void {
    this.metrics.leasesAcquired.inc();
  }

  @AfterCommit(LeaseReleased)
  leaseReleased(): void {
    this.metrics.leasesEnded.inc({ status: 'released' });
  }

  @AfterCommit(LeaseExpired)
  leaseExpired(): void {
    this.metrics.leasesEnded.inc({ status: 'expired' });
  }

  @AfterCommit(LeaseFailed)
  leaseFailed(): void {
    this.metrics.leasesEnded.inc({ status: 'failed' });
  }
}
