import { Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import type { Pool, QueryConfig } from 'pg';
import { Gauge } from 'prom-client';
import { Metrics } from '../../metrics/metrics.js';
import { DATABASE_STATE, type StateRow } from './database-state.js';

/** What was read this recently is not read again, in milliseconds: however many ask, the database is asked this often. */
const FRESH_MS = 1000;
/** How long the database may take to answer before it counts as out of reach, in milliseconds. */
const ANSWER_MS = 2000;

/** What the database knows of queue, runs, leases, places and runners, read when somebody asks; and this process's pool. */
@Injectable()
export class DatabaseMetrics implements OnModuleInit {
  private readonly logger = new Logger(DatabaseMetrics.name);
  private readonly up: Gauge;
  private readonly gauges: Record<StateRow['gauge'], Gauge>;
  private pool: Pool | undefined;
  private reading: Promise<void> | null = null;
  private readAt = -Infinity;

  constructor(
    private readonly em: EntityManager,
    private readonly metrics: Metrics,
  ) {
    this.up = this.gauge('berth_database_up', 'Whether the database answered');
    this.gauges = {
      queueDepth: this.gauge('berth_queue_depth', 'Runs that are due and have not started, by why not', 'reason'),
      queueAge: this.gauge(
        'berth_queue_oldest_age_seconds',
        'For how long the one of them has been due that waits longest, by why not',
        'reason',
      ),
      runs: this.gauge('berth_runs', 'Runs that have not ended, by status; scheduled_retry is not due yet', 'status'),
      leases: this.gauge('berth_leases', 'Leases that have not ended', 'status'),
      leasesOverdue: this.gauge('berth_leases_overdue', 'Leases that have run out and are not reclaimed yet'),
      leaseRequests: this.gauge('berth_lease_requests', 'Requests of others than runs that wait for a lease'),
      places: this.gauge('berth_places', 'Places that have not gone, by state', 'state'),
      placesParked: this.gauge('berth_places_parked', 'Places whose clean-up was given up until an operator looks'),
      runners: this.gauge(
        'berth_runners',
        'Processes that execute runs: live, draining, or lost within the last day without having stopped',
        'state',
      ),
    };
  }

  async onModuleInit(): Promise<void> {
    const pool = (this.pool = await this.em.getDriver().getConnection().getNativeClient());
    const connections = this.gauge('berth_database_pool_connections', 'Connections of this process, by use', 'state');
    new Gauge({
      name: 'berth_database_pool_waiting',
      help: 'Statements and transactions of this process that wait for a connection',
      registers: [this.metrics.registry],
      collect() {
        connections.set({ state: 'idle' }, pool.idleCount);
        connections.set({ state: 'busy' }, pool.totalCount - pool.idleCount);
        this.set(pool.waitingCount);
      },
    });
  }

  /** Brings the gauges up to date. Never throws, and answers within about two seconds. */
  async refresh(): Promise<void> {
    if (performance.now() - this.readAt < FRESH_MS) return;
    this.reading ??= this.read().finally(() => (this.reading = null));
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<void>((resolve) => {
      timer = setTimeout(() => resolve(this.forget()), ANSWER_MS);
    });
    await Promise.race([this.reading, tooLate]).finally(() => clearTimeout(timer));
  }

  private async read(): Promise<void> {
    try {
      // A connection that does not answer is given up by the pool, so that the next look takes another.
      const query = { text: DATABASE_STATE, query_timeout: ANSWER_MS } as QueryConfig;
      const { rows } = await this.pool!.query<StateRow>(query);
      this.forget();
      for (const { gauge, labels, value } of rows) this.gauges[gauge].set(labels, value);
      this.up.set(1);
      this.readAt = performance.now();
    } catch (error) {
      this.logger.warn({ err: error }, 'What the database knows could not be read for the metrics');
      this.forget();
    }
  }

  /** Nothing is better than what was true once. */
  private forget(): void {
    this.up.set(0);
    for (const gauge of Object.values(this.gauges)) {
      gauge.reset();
      // One without labels would now be 0.
      gauge.remove({});
    }
  }

  private gauge(name: string, help: string, ...labelNames: string[]): Gauge {
    return new Gauge({ name, help, labelNames, registers: [this.metrics.registry] });
  }
}
