import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { Gauge } from 'prom-client';
import { BerthConfig } from '../config/config.js';
import { AfterCommit } from '../events/listeners.js';
import { Metrics } from '../metrics/metrics.js';
import { daysOf, DUE_REMOVALS } from './due-removals.js';
import { DUE_ROWS, type DueKind } from './due-statements.js';
import { RetentionRemoved } from './retention.events.js';

/** Shows whether removing keeps up. */
@Injectable()
export class OldestDue {
  private readonly age: Gauge;

  constructor(
    private readonly em: EntityManager,
    private readonly config: BerthConfig,
    private readonly metrics: Metrics,
  ) {
    this.age = new Gauge({
      name: 'berth_retention_oldest_due_age_seconds',
      help: 'How old the oldest row was, when this process last looked, that should have been removed; 0 without one',
      labelNames: ['kind'],
      registers: [metrics.registry],
    });
  }

  /** Looks at the first row that is due of each company that has to be swept. */
  async observe(): Promise<void> {
    for (const kind of Object.keys(DUE_ROWS) as DueKind[]) {
      const [{ age }] = await this.em.fork().execute<[{ age: number | null }]>(
        `with due as materialized (${DUE_REMOVALS})
           select extract(epoch from now() - min(first.at))::float8 as age
           from due cross join lateral (${DUE_ROWS[kind](1)}) first`,
        daysOf(this.config.retention),
      );
      this.age.set({ kind }, age ?? 0);
    }
  }

  @AfterCommit(RetentionRemoved)
  count({ removed }: RetentionRemoved): void {
    for (const [kind, rows] of Object.entries(removed)) this.metrics.retentionRemoved.inc({ kind }, rows);
  }
}
