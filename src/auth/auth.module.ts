import { Global, Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { AuthGuard } from './auth.guard.js';
import { Callers } from './callers.js';
import { CredentialResolvers } from './credential-resolvers.js';
import { FirstOperatorKey } from './operator-keys/first-operator-key.js';
import { OperatorKeyResolver } from './operator-keys/operator-key-resolver.js';
import { OperatorKeysController } from './operator-keys/operator-keys.controller.js';
import { OperatorKeysService } from './operator-keys/operator-keys.service.js';
import { OwnedThings } from './owned-things.js';
import { RunTokens } from './run-tokens.js';
import { WhoAmIController } from './who-am-i.controller.js';

@Global()
@Module({
  controllers: [WhoAmIController, OperatorKeysController],
  providers: [
    Callers,
    CredentialResolvers,
    FirstOperatorKey,
    OperatorKeyResolver,
    OperatorKeysService,
    OwnedThings,
    RunTokens,
    { provide: APP_GUARD, useClass: AuthGuard },
  ],
  exports: [Callers, CredentialResolvers, OwnedThings, RunTokens],
})
export class AuthModule {}
