import { Injectable, type CallHandler, type ExecutionContext, type NestInterceptor } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import type { Observable } from 'rxjs';
import { currentActor } from '../../events/request-scope.js';
import { AbsentRuns } from './absent-runs.js';
import { RunRedactors } from './run-redactors.js';

/**
 * Takes a run's own secrets out of everything that it says over the API under its token: comments, activity, metadata.
 * Before the body is read by anybody, so that no route can be forgotten.
 */
@Injectable()
export class RunBodyInterceptor implements NestInterceptor {
  constructor(
    private readonly redactors: RunRedactors,
    private readonly absent: AbsentRuns,
  ) {}

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    if (context.getType() !== 'http') return next.handle();
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const actor = currentActor();
    if (actor.type === 'agent' && actor.runId !== null && request.body) {
      const token = /\S+$/.exec(request.headers.authorization ?? '')?.[0] ?? '';
      const redactor = this.redactors.find(actor.runId) ?? (await this.absent.redactorOf(actor.runId, token));
      request.body = redactor.json(request.body);
    }
    return next.handle();
  }
}
