import { Module } from '@nestjs/common';
import { HealthController } from './health.controller.js';
import { HealthService } from './health.service.js';
import { RestoreModule } from '../database/restore/restore.module.js';
import { DatabaseMetrics } from './metrics/database-metrics.js';
import { EventMetrics } from './metrics/event-metrics.js';
import { MetricsController } from './metrics/metrics.controller.js';
import { QuarantineController } from './quarantine.controller.js';

@Module({
  imports: [RestoreModule],
  controllers: [HealthController, QuarantineController, MetricsController],
  providers: [HealthService, DatabaseMetrics, EventMetrics],
})
export class HealthModule {}
