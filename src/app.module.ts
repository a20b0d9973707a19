import { Module, type DynamicModule } from '@nestjs/common';
import { ActivityModule } from './activity/activity.module.js';
import { AgentsModule } from './agents/agents.module.js';
import { AuthModule } from './auth/auth.module.js';
import { CompaniesModule } from './companies/companies.module.js';
import type { BerthConfig } from './config/config.js';
import { ConfigModule } from './config/config.module.js';
import { DatabaseModule } from './database/database.module.js';
import { NotificationsModule } from './database/notifications.module.js';
import { EnvironmentsModule } from './environments/environments.module.js';
import { EventsModule } from './events/events.module.js';
import { HealthModule } from './health/health.module.js';
import { HeartbeatModule } from './heartbeat/heartbeat.module.js';
import { HttpModule } from './http/http.module.js';
import { LoggerModule } from './http/logger.module.js';
import { IssuesModule } from './issues/issues.module.js';
import { LeasesModule } from './leases/leases.module.js';
import { MetricsModule } from './metrics/metrics.module.js';
import { SecretsModule } from './secrets/secrets.module.js';
import { ormOptions } from './mikro-orm.config.js';
import { RetentionModule } from './retention/retention.module.js';

@Module({})
export class AppModule {
  static forRoot(config: BerthConfig): DynamicModule {
    const kernel = [
      ConfigModule.forRoot(config),
      LoggerModule,
      MetricsModule,
      DatabaseModule.forRoot(ormOptions),
      NotificationsModule,
      EventsModule,
      HttpModule,
      AuthModule,
    ];
    const tenants = [CompaniesModule, SecretsModule, AgentsModule, IssuesModule];
    const execution = [EnvironmentsModule, LeasesModule, HeartbeatModule];
    return {
      module: AppModule,
      imports: [...kernel, ...tenants, ...execution, ActivityModule, RetentionModule, HealthModule],
    };
  }
}
