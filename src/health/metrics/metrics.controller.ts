import { Controller, Get, Res } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Access } from '../../auth/access.decorator.js';
import { Metrics } from '../../metrics/metrics.js';
import { DatabaseMetrics } from './database-metrics.js';

@ApiTags('Metrics')
@Controller('metrics')
export class MetricsController {
  constructor(
    private readonly metrics: Metrics,
    private readonly database: DatabaseMetrics,
  ) {}

  /**
   * What Berth counts and measures, in Prometheus' text format. Every process serves it, also one that only executes
   * runs. Counters and durations are of the process that answers, so that they are added up over all; what waits, runs
   * and is held (the gauges `berth_queue_*`, `berth_runs`, `berth_leases*`, `berth_places*`, `berth_lease_requests`,
   * `berth_runners`) is of the whole database, and the same from each. Without the database these are left out, and
   * `berth_database_up` is 0.
   */
  @Get()
  @Access('instance:read')
  @ApiOkResponse({ content: { 'text/plain': { schema: { type: 'string' } } } })
  async read(@Res({ passthrough: true }) reply: FastifyReply): Promise<string> {
    await this.database.refresh();
    reply.header('Content-Type', this.metrics.registry.contentType);
    return this.metrics.registry.metrics();
  }
}
