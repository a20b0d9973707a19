import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { BerthConfig } from './config/config.js';
import { loadConfig } from './config/load-config.js';
import { readyMessage } from './config/ready-message.js';
import { StartupError } from './config/startup-error.js';
import { EmbeddedPostgres } from './database/embedded/embedded-postgres.js';
import { lockHome } from './database/home-lock.js';
import { giveBackMemoryWhenIdle } from './idle-memory.js';

/** What has to be undone at the end, the last first: the database outlives everything that uses it. */
const undo: (() => unknown)[] = [];
/** npm passes on what the terminal has already sent: only a signal that is later than this, in milliseconds, is another. */
const SAME_SIGNAL_MS = 1000;
const enough = new AbortController();

async function start(): Promise<void> {
  const config = loadConfig(process.env, process.cwd());
  // The application is loaded only now, while the database starts: a wrong setting is answered at once.
  const withDatabase = config.databaseUrl === null ? await startDatabase(config) : config;
  const { bootstrap, drain } = await loadApplication();
  const app = await bootstrap(withDatabase);
  undo.push(
    () => close(app),
    () => drain(app, enough.signal),
  );
  process.stdout.write(`${readyMessage(withDatabase)}\n`);
  giveBackMemoryWhenIdle();
}

/** Keeps this process busy for as long as PostgreSQL takes to start, or longer. */
const loadApplication = () => import('./bootstrap.js');

async function startDatabase(config: BerthConfig): Promise<BerthConfig> {
  undo.push(await lockHome(config.home));
  const postgres = await EmbeddedPostgres.start(config.home, {
    // Whether it can be loaded is asked again where it is needed.
    meanwhile: () => void loadApplication().catch(() => undefined),
  });
  undo.push(() => postgres.stop());
  return config.with({ databaseUrl: await postgres.ensureDatabase('berth') });
}

/** A client that keeps a response open does not hold the server back for long. */
async function close(app: NestFastifyApplication): Promise<void> {
  const timer = setTimeout(() => app.getHttpServer().closeAllConnections(), 10_000);
  await app.close().finally(() => clearTimeout(timer));
}

async function stop(): Promise<void> {
  for (const step of undo.splice(0).reverse()) {
    try {
      await step();
    } catch (error) {
      console.error(error);
    }
  }
}

const starting = start().catch(async (error: unknown) => {
  console.error(error instanceof StartupError ? error.message : error);
  await stop();
  process.exit(1);
});

let askedAt: number | null = null;
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  // The first asks the process to stop; another one asks it not to wait for its runs.
  process.on(signal, () => {
    if (askedAt !== null) {
      if (performance.now() - askedAt > SAME_SIGNAL_MS) enough.abort();
      return;
    }
    askedAt = performance.now();
    void starting.then(stop).then(() => {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    });
  });
}
