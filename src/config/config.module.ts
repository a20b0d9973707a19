import { Module, type DynamicModule } from '@nestjs/common';
import { BerthConfig } from './config.js';

/** Gives everybody the configuration that the process was started with. */
@Module({})
export class ConfigModule {
  static forRoot(config: BerthConfig): DynamicModule {
    return {
      global: true,
      module: ConfigModule,
      providers: [{ provide: BerthConfig, useValue: config }],
      exports: [BerthConfig],
    };
  }
}
