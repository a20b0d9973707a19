import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { CompaniesService } from '../companies/companies.service.js';
import { inTransaction } from '../database/transaction.js';
import { DomainEvents } from '../events/domain-events.js';
import { DriverRegistry } from './drivers/driver-registry.js';
import type { ProbeResult } from './drivers/environment-driver.port.js';
import { EnvironmentProbed } from './environments.events.js';
import { EnvironmentsService } from './environments.service.js';

/** Looks whether places could be used. No transaction is open while a driver looks. */
@Injectable()
export class EnvironmentProbesService {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly companies: CompaniesService,
    private readonly environments: EnvironmentsService,
    private readonly drivers: DriverRegistry,
  ) {}

  /** @throws NotFoundError */
  async probe(environmentId: string): Promise<ProbeResult & { driver: string }> {
    const { companyId, driver, config } = await this.environments.require(environmentId);
    const result = await this.drivers.get(driver).probe(config);
    const { ok, summary } = result;
    await inTransaction(this.em, () =>
      this.events.record(new EnvironmentProbed(companyId, environmentId, { ok, summary })),
    );
    return { driver, ...result };
  }

  /**
   * Probes what is no environment yet, and leaves no record.
   * @throws NotFoundError, UnknownDriverError, InvalidInputError
   */
  async probeConfig(
    companyId: string,
    { driver, config = {} }: { driver: string; config?: Record<string, unknown> },
  ): Promise<ProbeResult & { driver: string }> {
    await this.companies.assertExists(companyId);
    const chosen = this.drivers.get(driver);
    return { driver, ...(await chosen.probe(chosen.validateConfig(config))) };
  }
}
