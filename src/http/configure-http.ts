import { EntityManager } from '@mikro-orm/postgresql';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { BerthConfig, isLoopback } from '../config/config.js';
import { ErrorFilter } from './error.filter.js';
import { InputPipe } from './input.pipe.js';
import { acceptJsonOnly } from './json-body.js';
import { limitAddressLength } from './limits/address-length.js';
import { guardHost } from './limits/host-guard.js';
import { limitRates } from './limits/request-rates.js';
import { dropSlowReaders } from './limits/slow-readers.js';
import { serveOpenApi } from './openapi.js';
import { answerPages } from './pages.js';
import { openRequestScopes } from './request-scopes.js';
import { serveHealthOnly } from './runner-only.js';
import { sendSecurityHeaders } from './security-headers.js';
import { noteAnswers } from './unreadable-requests.js';

/** Gives an application the conventions of the wire. Comes before `app.init()` or `app.listen()`. */
export async function configureHttp(app: NestFastifyApplication): Promise<void> {
  const server = app.getHttpAdapter().getInstance();
  const config = app.get(BerthConfig);
  noteAnswers(server);
  openRequestScopes(server, app.get(EntityManager));
  answerPages(server);
  sendSecurityHeaders(server);
  limitAddressLength(server);
  if (isLoopback(config.host)) guardHost(server, config);
  await limitRates(app);
  dropSlowReaders(server, config.clientTimeoutSec);
  if (!config.roles.has('api')) serveHealthOnly(server);
  acceptJsonOnly(app);
  app.setGlobalPrefix('api', { exclude: ['metrics'] });
  app.useGlobalPipes(new InputPipe());
  app.useGlobalFilters(new ErrorFilter());
  await serveOpenApi(app);
}
