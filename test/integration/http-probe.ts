import { Body, Controller, Get, HttpCode, Param, Post, Query, type Type } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { IsOptional, IsString } from 'class-validator';
import { Access } from '../../src/auth/access.decorator.js';
import { AuthModule } from '../../src/auth/auth.module.js';
import { CompaniesModule } from '../../src/companies/companies.module.js';
import { CompaniesService } from '../../src/companies/companies.service.js';
import { ConfigModule } from '../../src/config/config.module.js';
import { loadConfig } from '../../src/config/load-config.js';
import { LoggerModule } from '../../src/http/logger.module.js';
import { DatabaseModule } from '../../src/database/database.module.js';
import { NotificationsModule } from '../../src/database/notifications.module.js';
import { Page } from '../../src/database/page.js';
import { EventsModule } from '../../src/events/events.module.js';
import { currentActor, currentScope } from '../../src/events/request-scope.js';
import { configureHttp } from '../../src/http/configure-http.js';
import { createHttpAdapter } from '../../src/http/http-adapter.js';
import { HttpModule } from '../../src/http/http.module.js';
import { IdPipe } from '../../src/http/id.pipe.js';
import { Idempotent } from '../../src/http/idempotent.decorator.js';
import { IgnoresClientFields } from '../../src/http/ignored-fields.js';
import { PageQueryDto } from '../../src/http/page-query.dto.js';
import { MetricsModule } from '../../src/metrics/metrics.module.js';
import { ormOptions } from '../../src/mikro-orm.config.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

@IgnoresClientFields('agentKey')
class ProbeDto {
  @IsString()
  name: string;

  @IsOptional()
  @IsString()
  idempotencyKey?: string;
}

/** Routes that show what the conventions of the wire do, each in isolation. */
@Controller('probe')
class ProbeController {
  constructor(
    private readonly em: EntityManager,
    private readonly companies: CompaniesService,
  ) {}

  /** Runs any SQL, so that a test can provoke any refusal of the database. */
  @Post('sql')
  @Access('members:write')
  sql(@Body() { name }: ProbeDto): Promise<unknown> {
    return this.em.execute(name);
  }

  @Post('echo')
  @Access('members:write')
  @HttpCode(200)
  echo(@Body() dto: ProbeDto): ProbeDto {
    return dto;
  }

  @Get('scope')
  @Access('members:write')
  scope(): unknown {
    return { actor: currentActor(), requestId: currentScope()?.requestId };
  }

  @Get('pages')
  @Access('members:write')
  pages(@Query() { limit }: PageQueryDto): Page<number> {
    return Page.of(
      Array.from({ length: limit + 1 }, (_, at) => at),
      limit,
      String,
    );
  }

  @Get('things/:id')
  @Access('members:write')
  thing(@Param('id', IdPipe) id: string): { id: string } {
    return { id };
  }

  @Get('crash')
  @Access('members:write')
  crash(): never {
    throw new Error('a secret of ours');
  }

  @Post('companies/:companyId/once')
  @Access('members:write')
  @Idempotent(['token'])
  @HttpCode(202)
  async once(@Body() { name }: ProbeDto): Promise<unknown> {
    const { id } = await this.companies.create({ name });
    await this.em.flush();
    if (name.startsWith('fails')) throw new Error('after the work');
    return { id, token: 'shown once' };
  }
}

export interface ProbeApp {
  readonly url: string;
  readonly app: NestFastifyApplication;
  readonly database: TestDatabase;
  close(): Promise<void>;
}

/** The real conventions on a small application, with routes that misbehave on demand. */
export async function startProbeApp(imports: Type[] = []): Promise<ProbeApp> {
  const database = await createTestDatabase();
  const level = process.env.LOG_LEVEL ?? 'silent';
  const config = loadConfig({ BERTH_LOG_LEVEL: level, BERTH_DATABASE_URL: database.url }, process.cwd());
  const foundation = [
    LoggerModule,
    MetricsModule,
    DatabaseModule.forRoot(ormOptions),
    EventsModule,
    HttpModule,
    NotificationsModule,
    AuthModule,
  ];
  const testing = await Test.createTestingModule({
    imports: [ConfigModule.forRoot(config), ...foundation, CompaniesModule, ...imports],
    controllers: [ProbeController],
  }).compile();
  const app = testing.createNestApplication<NestFastifyApplication>(createHttpAdapter(config, 100_000), {
    logger: process.env.LOG_LEVEL ? ['error', 'warn'] : false,
  });
  await configureHttp(app);
  await app.listen(0, '127.0.0.1');
  return {
    url: (await app.getUrl()).replace('[::1]', '127.0.0.1'),
    app,
    database,
    close: async () => {
      await app.close();
      await database.close();
    },
  };
}
