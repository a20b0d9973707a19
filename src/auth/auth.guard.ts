import { Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import { LOCAL_OPERATOR, type Actor } from '../events/actor.js';
import { currentScope } from '../events/request-scope.js';
import { assertOperator } from './access.js';
import { RunMismatchError, UnauthenticatedError } from './auth-errors.js';
import { CredentialResolvers } from './credential-resolvers.js';
import { OPERATOR_ONLY } from './operator-only.js';

/**
 * Finds out who calls, before anything else is done for a request, and writes it into the request's scope. In local
 * trusted mode a caller without credentials is the operator; one who shows a credential is held to it.
 */
@Injectable()
export class AuthGuard implements CanActivate {
  constructor(
    private readonly credentials: CredentialResolvers,
    private readonly reflector: Reflector,
  ) {}

  /** @throws UnauthenticatedError, RunMismatchError, OperatorOnlyError */
  async canActivate(context: ExecutionContext): Promise<boolean> {
    if (context.getType() !== 'http') return true;
    const { headers } = context.switchToHttp().getRequest<FastifyRequest>();
    const actor = await this.actorOf(headers.authorization);
    assertOwnRun(actor, headers['x-paperclip-run-id']);
    const scope = currentScope();
    if (!scope) throw new Error('A request arrived outside a request scope: whom it acts for would be lost');
    scope.actor = actor;
    const operatorOnly = this.reflector.getAllAndOverride<true | undefined>(OPERATOR_ONLY, [
      context.getHandler(),
      context.getClass(),
    ]);
    if (operatorOnly) assertOperator();
    return true;
  }

  private async actorOf(authorization: string | undefined): Promise<Actor> {
    if (authorization === undefined) return LOCAL_OPERATOR;
    const token = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
    if (!token) throw new UnauthenticatedError('The Authorization header has to read "Bearer <token>"');
    const actor = await this.credentials.resolve(token);
    if (!actor) throw new UnauthenticatedError('This token is unknown, revoked, or outlived its run');
    return actor;
  }
}

/** An agent acts for a run only by that run's token; a key that belongs to no run can name none. */
function assertOwnRun(actor: Actor, named: string | string[] | undefined): void {
  if (named === undefined || actor.type !== 'agent') return;
  if (actor.runId === null || named !== actor.runId) throw new RunMismatchError();
}
