import { Module, type DynamicModule } from '@nestjs/common';
import type { BerthConfig } from './config/config.js';
import { ConfigModule } from './config/config.module.js';
import { LoggerModule } from './config/logger.module.js';
import { DatabaseModule } from './database/database.module.js';
import { EventsModule } from './events/events.module.js';
import { ormOptions } from './mikro-orm.config.js';

@Module({})
export class AppModule {
  static forRoot(config: BerthConfig): DynamicModule {
    return {
      module: AppModule,
      imports: [ConfigModule.forRoot(config), LoggerModule, DatabaseModule.forRoot(ormOptions), EventsModule],
    };
  }
}
