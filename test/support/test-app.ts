import type { Type } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { bootstrap } from '../../src/bootstrap.js';
import type { BerthConfig } from '../../src/config/config.js';
import { loadConfig } from '../../src/config/load-config.js';
import { createTestDatabase, type TestDatabase } from './test-database.js';

type ConfigValues = Parameters<BerthConfig['with']>[0];

export interface TestApp {
  /** `http://127.0.0.1:<port>`, without `/api`. */
  readonly url: string;
  readonly app: NestFastifyApplication;
  readonly config: BerthConfig;
  readonly database: TestDatabase;
  /** Any provider of any module. */
  get<T>(type: Type<T> | (abstract new (...args: never[]) => T)): T;
  /** Closes the application, and removes its home and its database unless that was given. */
  close(): Promise<void>;
}

export interface TestAppOptions {
  /** What differs from the defaults; the port is any free one, the log is silent. */
  readonly config?: ConfigValues;
  /** Shared with the caller, who removes it; otherwise the application gets one of its own. */
  readonly database?: TestDatabase;
  /** Is shown the operator key of an authenticated server that had none. */
  readonly showFirstKey?: (token: string) => void;
}

/** The configuration of a test: the defaults of production, apart from where it lives. */
export async function testConfig(databaseUrl: string, changes: ConfigValues = {}): Promise<BerthConfig> {
  const home = await mkdtemp(path.join(tmpdir(), 'berth-home-'));
  return loadConfig({ BERTH_LOG_LEVEL: process.env.LOG_LEVEL ?? 'silent', BERTH_PORT: '0' }, home).with({
    home,
    databaseUrl,
    ...changes,
  });
}

/** Starts the real application, through the same function as `main.ts`, on a database of its own. */
export async function startTestApp(options: TestAppOptions = {}): Promise<TestApp> {
  const database = options.database ?? (await createTestDatabase());
  const config = await testConfig(database.url, options.config);
  const app = await bootstrap(config, options.showFirstKey);
  return {
    url: `http://127.0.0.1:${config.port}`,
    app,
    config,
    database,
    get: (type) => app.get(type, { strict: false }),
    async close() {
      await app.close();
      if (!options.database) await database.close();
      await rm(config.home, { recursive: true, force: true });
    },
  };
}
