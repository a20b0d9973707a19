import { afterAll, beforeAll } from '@jest/globals';
import type { BerthConfig } from '../../src/config/config.js';
import { bootClock } from '../../src/environments/drivers/guard/boot-clock.js';
import { Predecessors } from '../../src/environments/drivers/guard/predecessors.js';
import { ProcessGuard } from '../../src/environments/drivers/guard/process-guard.js';
import { LocalDriver } from '../../src/environments/drivers/local-driver.js';
import { ThisHost } from '../../src/environments/this-host.js';

/** The guard of a runner outside an application; without its start it is one that starts nothing. */
export function processGuard(home: string): ProcessGuard {
  const config = { home } as BerthConfig;
  return new ProcessGuard(config, new Predecessors(config));
}

/** A guard for what the tests of a suite run. */
export function guardOfSuite(home: string): ProcessGuard {
  const guard = processGuard(home);
  beforeAll(() => guard.start('runner-1'));
  afterAll(() => guard.stop());
  return guard;
}

/** A driver outside an application. */
export function localDriver(home: string, guard: ProcessGuard = processGuard(home)): LocalDriver {
  return new LocalDriver({ home } as BerthConfig, guard, new ThisHost({ home } as BerthConfig));
}

/** What a command runs under where no lease was taken. */
export const anyLease = () => ({ id: 'a lease', deadline: bootClock() + 3_600_000 });
