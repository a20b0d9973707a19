import { Module } from '@nestjs/common';
import { CompaniesModule } from '../companies/companies.module.js';
import { SecretsModule } from '../secrets/secrets.module.js';
import { DriverRegistry } from './drivers/driver-registry.js';
import { Predecessors } from './drivers/guard/predecessors.js';
import { Guards } from './drivers/guard/guards.js';
import { LocalDriver } from './drivers/local-driver.js';
import { EnvironmentProbesService } from './environment-probes.service.js';
import { EnvironmentUsages } from './environment-usage.js';
import { EnvironmentsController } from './environments.controller.js';
import { EnvironmentsService } from './environments.service.js';
import { ExecutionWorkspacesController } from './execution-workspaces.controller.js';
import { ExecutionWorkspacesService } from './execution-workspaces.service.js';
import { LocalEnvironments } from './local-environments.js';
import { ThisHost } from './this-host.js';

@Module({
  imports: [CompaniesModule, SecretsModule],
  controllers: [EnvironmentsController, ExecutionWorkspacesController],
  providers: [
    DriverRegistry,
    LocalDriver,
    Guards,
    Predecessors,
    EnvironmentsService,
    EnvironmentProbesService,
    EnvironmentUsages,
    ExecutionWorkspacesService,
    LocalEnvironments,
    ThisHost,
  ],
  exports: [DriverRegistry, Guards, EnvironmentsService, ThisHost],
})
export class EnvironmentsModule {}
