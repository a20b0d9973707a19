import { Module } from '@nestjs/common';
import { HealthController } from './health.controller.js';
import { HealthService } from './health.service.js';
import { DatabaseMetrics } from './metrics/database-metrics.js';
import { EventMetrics } from './metrics/event-metrics.js';
import { MetricsController } from './metrics/metrics.controller.js';
import { MetricsModule } from '../metrics/metrics.module.js';

@Module({
  imports: [MetricsModule],
  controllers: [HealthController, MetricsController],
  providers: [HealthService, DatabaseMetrics, EventMetrics],
})
export class HealthModule {}
