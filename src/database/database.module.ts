import { Global, Module } from '@nestjs/common';
import { MikroOrmModule } from '@mikro-orm/nestjs';
import { PostgreSqlDriver } from '@mikro-orm/postgresql';
import { BerthConfig } from '../config/config.js';
import { ormOptions } from '../mikro-orm.config.js';
import { connectionOptions } from './connection.js';
import { migrate } from './migrations.js';
import { checkServer } from './server-check.js';

/** Connections of one process: its runs hold none while they execute. */
const POOL_SIZE = 16;

/** Connects to the database, after bringing it to this build's schema: nobody sees it any earlier. */
@Global()
@Module({
  imports: [
    MikroOrmModule.forRootAsync({
      driver: PostgreSqlDriver,
      inject: [BerthConfig],
      useFactory: async ({ databaseUrl }: BerthConfig) => {
        if (databaseUrl === null) throw new Error('The embedded database has to be started before the application');
        await checkServer(databaseUrl);
        await migrate(databaseUrl);
        return ormOptions(connectionOptions(databaseUrl, 'berth', POOL_SIZE));
      },
    }),
  ],
})
export class DatabaseModule {}
