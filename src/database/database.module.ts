import { Module, type DynamicModule } from '@nestjs/common';
import { MikroOrmModule } from '@mikro-orm/nestjs';
import { PostgreSqlDriver, type Options } from '@mikro-orm/postgresql';
import { BerthConfig } from '../config/config.js';
import { connectionOptions } from './connection.js';

/** Connections of one process: its runs hold none while they execute. */
const POOL_SIZE = 16;
/**
 * Longer than any statement takes here, waits for locks included. With the default settings a renewal that was lost is made
 * up for before its lease runs out.
 */
const UNANSWERED_MS = 30_000;

/** Connects to the database, which `prepareDatabase` has brought to this build's schema. */
@Module({})
export class DatabaseModule {
  /** @param ormOptions adds the entities, which belong to the modules above this one. */
  static forRoot(ormOptions: (connection: Options) => Options): DynamicModule {
    const orm = MikroOrmModule.forRootAsync({
      driver: PostgreSqlDriver,
      inject: [BerthConfig],
      useFactory: ({ databaseUrl }: BerthConfig) => {
        if (databaseUrl === null) throw new Error('The embedded database has to be started before the application');
        const connection = connectionOptions(databaseUrl, 'berth', POOL_SIZE, UNANSWERED_MS);
        // A request's unit of work comes with its scope.
        return { ...ormOptions(connection), registerRequestContext: false };
      },
    });
    return { module: DatabaseModule, imports: [orm] };
  }
}
