import { join } from 'node:path';
import { afterAll, beforeAll } from '@jest/globals';
import type { BerthConfig } from '../../src/config/config.js';
import { bootClock } from '../../src/environments/drivers/guard/boot-clock.js';
import type { Guards } from '../../src/environments/drivers/guard/guards.js';
import { ProcessGuard } from '../../src/environments/drivers/guard/process-guard.js';
import { journalsIn } from '../../src/environments/drivers/guard/runner-journal.js';
import { LocalDriver } from '../../src/environments/drivers/local-driver.js';
import { ThisHost } from '../../src/environments/this-host.js';

/** A guard of a runner outside an application; without its start it is one that starts nothing. */
export function processGuard(home: string): ProcessGuard {
  return new ProcessGuard(join(journalsIn(home), 'runner-1.json'));
}

/** A guard for what the tests of a suite run. */
export function guardOfSuite(home: string): ProcessGuard {
  const guard = processGuard(home);
  beforeAll(() => guard.start());
  afterAll(() => guard.stop());
  return guard;
}

/** A driver outside an application. */
export function localDriver(home: string, guard: ProcessGuard = processGuard(home)): LocalDriver {
  const guards: Pick<Guards, 'next'> = { next: () => guard };
  return new LocalDriver({ home } as BerthConfig, guards as Guards, new ThisHost({ home } as BerthConfig));
}

/** What a command runs under where no lease was taken. */
export const anyLease = () => ({ id: 'a lease', deadline: bootClock() + 3_600_000 });
