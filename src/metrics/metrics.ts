import { Injectable } from '@nestjs/common';
import { Counter, Histogram, Registry } from 'prom-client';

/** Of work that takes milliseconds to seconds, in seconds. */
const WORK_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** Of what takes milliseconds when all is well and has a second or two, in seconds. */
const LAG_BUCKETS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30, 60];
/** Of what waits for room, in seconds: up to a day. */
const WAIT_BUCKETS = [0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3_600, 14_400, 86_400];

/**
 * What this process counts and measures, in Prometheus' terms. Each application has a registry of its own. Whoever sees
 * something happen observes it here; what the database knows is read when somebody asks.
 */
@Injectable()
export class Metrics {
  readonly registry = new Registry();

  readonly runsStarted = this.counter('berth_runs_started_total', 'Runs that this process started');
  readonly runsEnded = this.counter('berth_runs_ended_total', 'Runs that this process ended, by how they ended', [
    'status',
  ]);
  readonly leasesAcquired = this.counter('berth_leases_acquired_total', 'Leases that this process acquired');
  readonly leasesEnded = this.counter('berth_leases_ended_total', 'Leases that this process ended, by how they ended', [
    'status',
  ]);
  readonly claimErrors = this.counter(
    'berth_claim_errors_total',
    'Runs that could not be started because of an unexpected error, which is on the run',
  );
  readonly retentionRemoved = this.counter(
    'berth_retention_removed_rows_total',
    'Rows that this process removed because they had been kept for long enough, by what they were',
    ['kind'],
  );

  readonly wait = this.histogram('berth_run_wait_seconds', 'From when a run was due until it started', WAIT_BUCKETS);
  readonly provision = this.histogram(
    'berth_run_provision_seconds',
    'From when a free slot asked for a run until it had one, of slots that got one',
    WORK_BUCKETS,
  );
  readonly finalise = this.histogram(
    'berth_run_finalise_seconds',
    'From the end of an execution until it was recorded, attempts that failed included',
    WORK_BUCKETS,
  );
  readonly reapLag = this.histogram(
    'berth_lease_reap_lag_seconds',
    'From when a lease ran out, or was revoked for, until it was reclaimed',
    LAG_BUCKETS,
  );
  readonly streamLag = this.histogram(
    'berth_activity_stream_lag_seconds',
    'From when a change began to be made until a live stream of activity was sent it',
    LAG_BUCKETS,
  );

  private counter(name: string, help: string, labelNames: string[] = []): Counter {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }

  private histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name, help, buckets, registers: [this.registry] });
  }
}
