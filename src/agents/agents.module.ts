import { Module } from '@nestjs/common';
import { CompaniesModule } from '../companies/companies.module.js';
import { SecretsModule } from '../secrets/secrets.module.js';
import { AdapterCatalog } from './adapter-catalog.js';
import { AgentKeyResolver } from './agent-key-resolver.js';
import { AgentKeysController } from './agent-keys.controller.js';
import { AgentKeysService } from './agent-keys.service.js';
import { AgentLifecycleService } from './agent-lifecycle.service.js';
import { AgentRuntimeStateService } from './agent-runtime-state.service.js';
import { AgentsController } from './agents.controller.js';
import { AgentsService } from './agents.service.js';

@Module({
  imports: [CompaniesModule, SecretsModule],
  controllers: [AgentsController, AgentKeysController],
  providers: [
    AdapterCatalog,
    AgentKeyResolver,
    AgentKeysService,
    AgentLifecycleService,
    AgentRuntimeStateService,
    AgentsService,
  ],
  exports: [AdapterCatalog, AgentLifecycleService, AgentsService],
})
export class AgentsModule {}
