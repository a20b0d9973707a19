import { Injectable } from '@nestjs/common';
import { UnknownDriverError } from './driver-errors.js';
import type { DriverCapabilities, EnvironmentDriver } from './environment-driver.port.js';
import { LocalDriver } from './local-driver.js';

/** Every driver that is built in. Add one here to have it offered, validated, probed and used. */
@Injectable()
export class DriverRegistry {
  private readonly drivers: ReadonlyMap<string, EnvironmentDriver>;

  constructor(local: LocalDriver) {
    this.drivers = new Map([local].map((driver) => [driver.capabilities.driver, driver]));
  }

  /** @throws UnknownDriverError */
  get(name: string): EnvironmentDriver {
    const driver = this.drivers.get(name);
    if (!driver) throw new UnknownDriverError(name, [...this.drivers.keys()]);
    return driver;
  }

  /** Whether there can be places of this driver that have to be taken down. */
  makesPlaces(name: string): boolean {
    return this.drivers.get(name)?.capabilities.hasPlaces ?? false;
  }

  capabilities(): DriverCapabilities[] {
    return [...this.drivers.values()].map((driver) => driver.capabilities);
  }
}
