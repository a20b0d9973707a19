import { Global, Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { AuthGuard } from './auth.guard.js';
import { CredentialResolvers } from './credential-resolvers.js';
import { WhoAmIController } from './who-am-i.controller.js';

@Global()
@Module({
  controllers: [WhoAmIController],
  providers: [CredentialResolvers, { provide: APP_GUARD, useClass: AuthGuard }],
  exports: [CredentialResolvers],
})
export class AuthModule {}
