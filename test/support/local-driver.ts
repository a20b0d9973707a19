import type { BerthConfig } from '../../src/config/config.js';
import { bootClock } from '../../src/environments/drivers/guard/boot-clock.js';
import { Predecessors } from '../../src/environments/drivers/guard/predecessors.js';
import { ProcessGuard } from '../../src/environments/drivers/guard/process-guard.js';
import { LocalDriver } from '../../src/environments/drivers/local-driver.js';
import { ThisHost } from '../../src/environments/this-host.js';

/** A driver outside an application, whose commands nobody guards. */
export function localDriver(home: string): LocalDriver {
  const config = { home } as BerthConfig;
  return new LocalDriver(config, new ProcessGuard(config, new Predecessors(config)), new ThisHost(config));
}

/** What a command runs under where no lease was taken. */
export const anyLease = () => ({ id: 'a lease', deadline: bootClock() + 3_600_000 });
