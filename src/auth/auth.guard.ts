import { Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import { BerthConfig } from '../config/config.js';
import { LOCAL_OPERATOR, type Caller } from '../events/actor.js';
import { currentScope } from '../events/request-scope.js';
import { POLICY } from './access.decorator.js';
import { RunMismatchError, UnauthenticatedError } from './auth-errors.js';
import { CredentialResolvers } from './credential-resolvers.js';
import { OwnedThings } from './owned-things.js';
import { refusalOf, type Policy } from './policy.js';

/**
 * Decides about every request before anything else is done for it: finds out who calls, writes it into the request's
 * scope, and holds the caller to the route's policy. In local trusted mode a caller without credentials is the operator;
 * one who shows a credential is held to it.
 */
@Injectable()
export class AuthGuard implements CanActivate {
  constructor(
    private readonly credentials: CredentialResolvers,
    private readonly things: OwnedThings,
    private readonly reflector: Reflector,
    private readonly config: BerthConfig,
  ) {}

  /** @throws UnauthenticatedError, RunMismatchError, NotFoundError, ForbiddenError */
  async canActivate(context: ExecutionContext): Promise<boolean> {
    if (context.getType() !== 'http') return true;
    const policy = this.reflector.get<Policy | undefined>(POLICY, context.getHandler());
    if (!policy) throw new Error(`Nobody may call ${context.getHandler().name}: its route has no policy`);
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const { authorization, 'x-paperclip-run-id': runId } = request.headers;
    // A credential that is shown where none is needed is checked all the same: clients find out by it whether theirs is good.
    if (policy === 'public' && authorization === undefined) return true;
    const caller = await this.callerOf(authorization);
    assertOwnRun(caller, runId);
    const scope = currentScope();
    if (!scope) throw new Error('A request arrived outside a request scope: whom it acts for would be lost');
    scope.actor = caller;
    await this.hold(caller, policy, request);
    return true;
  }

  private async callerOf(authorization: string | undefined): Promise<Caller> {
    if (authorization === undefined) {
      if (this.config.auth === 'local_trusted') return LOCAL_OPERATOR;
      throw new UnauthenticatedError('A credential is needed: send the header "Authorization: Bearer <key>"');
    }
    const token = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
    if (!token) throw new UnauthenticatedError('The Authorization header has to read "Bearer <token>"');
    const caller = await this.credentials.resolve(token);
    if (!caller) throw new UnauthenticatedError('This token is unknown, revoked, expired, or outlived its run');
    return caller;
  }

  /** Who may call the route learns from its handler what does not exist; who may not is told here, before the refusal. */
  private async hold(caller: Caller, policy: Policy, request: FastifyRequest): Promise<void> {
    const refusal = refusalOf(policy, caller);
    if (!refusal) return;
    await this.things.assertVisible(request);
    throw refusal;
  }
}

/** An agent acts for a run only by that run's token; a key that belongs to no run can name none. */
function assertOwnRun(caller: Caller, named: string | string[] | undefined): void {
  if (named === undefined || caller.type !== 'agent') return;
  if (caller.runId === null || named !== caller.runId) throw new RunMismatchError();
}
