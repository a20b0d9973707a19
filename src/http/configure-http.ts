import { EntityManager } from '@mikro-orm/postgresql';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { BerthConfig } from '../config/config.js';
import { ErrorFilter } from './error.filter.js';
import { InputPipe } from './input.pipe.js';
import { acceptJsonOnly } from './json-body.js';
import { serveOpenApi } from './openapi.js';
import { answerPages } from './pages.js';
import { openRequestScopes } from './request-scopes.js';
import { serveHealthOnly } from './runner-only.js';

/** Gives an application the conventions of the wire. Comes before `app.init()` or `app.listen()`. */
export async function configureHttp(app: NestFastifyApplication): Promise<void> {
  const server = app.getHttpAdapter().getInstance();
  openRequestScopes(server, app.get(EntityManager));
  answerPages(server);
  if (!app.get(BerthConfig).roles.has('api')) serveHealthOnly(server);
  acceptJsonOnly(app);
  app.setGlobalPrefix('api', { exclude: ['metrics'] });
  app.useGlobalPipes(new InputPipe());
  app.useGlobalFilters(new ErrorFilter());
  await serveOpenApi(app);
}
