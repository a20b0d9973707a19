import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Logger } from 'nestjs-pino';
import { AppModule } from './app.module.js';
import { FirstOperatorKey } from './auth/operator-keys/first-operator-key.js';
import type { BerthConfig } from './config/config.js';
import { StartupError } from './config/startup-error.js';
import { prepareDatabase } from './database/migrations.js';
import { DatabaseWatch } from './database/restore/database-watch.js';
import { HealthService } from './health/health.service.js';
import { Runner } from './heartbeat/execution/runner.js';
import { connectExecution, startHeartbeat } from './heartbeat/start-heartbeat.js';
import { configureHttp } from './http/configure-http.js';
import { createHttpAdapter } from './http/http-adapter.js';
import { RetentionSweeper } from './retention/retention-sweeper.js';

/**
 * Brings the database to this build's schema, assembles the application and listens. Recovery and runs
 * begin after that: a server that has much to recover answers meanwhile.
 * @param config with the address of a database that runs.
 * @param showFirstKey is shown the operator key of an authenticated server that had none.
 * @throws StartupError when the database cannot be used or the port is taken; nothing stays open then.
 */
export async function bootstrap(
  config: BerthConfig,
  showFirstKey: (token: string) => void = printFirstKey,
): Promise<NestFastifyApplication> {
  if (config.databaseUrl === null) throw new Error('The embedded database has to be started before the application');
  await prepareDatabase(config.databaseUrl);
  const app = await NestFactory.create<NestFastifyApplication>(AppModule.forRoot(config), createHttpAdapter(config), {
    abortOnError: false,
    bufferLogs: true,
  });
  try {
    app.useLogger(app.get(Logger));
    await app.get(DatabaseWatch).recognise();
    await app.get(FirstOperatorKey).establish(showFirstKey);
    await configureHttp(app);
    await app.listen(config.port, config.host);
    const address = app.getHttpServer().address();
    if (address !== null && typeof address === 'object') config.listensOn(address.port);
    connectExecution(app);
    await app.startAllMicroservices();
    startHeartbeat(app);
    app.get(RetentionSweeper).start();
    return app;
  } catch (error) {
    await app.close();
    throw listenError(error, config);
  }
}

/** One line, and the only time that anybody can see the key. */
function printFirstKey(token: string): void {
  process.stdout.write(`The first operator key, shown this once and kept nowhere: ${token}\n`);
}

/**
 * Before the application is closed: takes no further work, and lets what runs here end by itself for a while.
 * @param enough ends the wait at once.
 */
export async function drain(app: NestFastifyApplication, enough: AbortSignal): Promise<void> {
  app.get(HealthService).drain();
  await app.get(Runner).drain(enough);
}

function listenError(error: unknown, { host, port }: BerthConfig): unknown {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'EADDRINUSE':
      return new StartupError(
        `Port ${port} of ${host} is in use by another program. Stop that one, or set BERTH_PORT to another port ` +
          '(0 takes any free one).',
      );
    case 'EACCES':
      return new StartupError(`This user may not listen on port ${port}. Set BERTH_PORT to a port from 1024 upwards.`);
    case 'EADDRNOTAVAIL':
      return new StartupError(`This machine has no address ${host}. Set BERTH_HOST to 127.0.0.1 or leave it out.`);
    default:
      return error;
  }
}
