import { Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import type { Caller } from '../events/actor.js';
import { currentScope } from '../events/request-scope.js';
import { POLICY } from './access.decorator.js';
import { RunMismatchError } from './auth-errors.js';
import { Callers } from './callers.js';
import { OwnedThings } from './owned-things.js';
import { refusalOf, type Policy } from './policy.js';

/**
 * Decides about every request before anything else is done for it: finds out who calls, writes it into the request's
 * scope, and holds the caller to the route's policy.
 */
@Injectable()
export class AuthGuard implements CanActivate {
  constructor(
    private readonly callers: Callers,
    private readonly things: OwnedThings,
    private readonly reflector: Reflector,
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
    const caller = await this.callers.of(request);
    assertOwnRun(caller, runId);
    const scope = currentScope();
    if (!scope) throw new Error('A request arrived outside a request scope: whom it acts for would be lost');
    scope.actor = caller;
    await this.hold(caller, policy, request);
    return true;
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
