import { Module } from '@nestjs/common';
import { CompaniesModule } from '../companies/companies.module.js';
import { Keyring } from './keyring.js';
import { SecretReferences } from './secret-references.service.js';
import { SecretResolver } from './secret-resolver.js';
import { SecretValues } from './secret-values.js';
import { SecretsController } from './secrets.controller.js';
import { SecretsService } from './secrets.service.js';

@Module({
  imports: [CompaniesModule],
  controllers: [SecretsController],
  providers: [Keyring, SecretReferences, SecretResolver, SecretValues, SecretsService],
  exports: [SecretReferences, SecretResolver],
})
export class SecretsModule {}
