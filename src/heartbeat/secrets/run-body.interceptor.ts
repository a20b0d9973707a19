import { Injectable, type CallHandler, type ExecutionContext, type NestInterceptor } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import type { Observable } from 'rxjs';
import { currentScope } from '../../events/request-scope.js';

/**
 * Takes a run's own secrets out of everything that it says over the API under its token: comments, activity, metadata.
 * Before the body is read by anybody, so that no route can be forgotten.
 */
@Injectable()
export class RunBodyInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const redactor = currentScope()?.redactor;
    if (context.getType() !== 'http' || !redactor) return next.handle();
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    request.body = redactor.json(request.body);
    return next.handle();
  }
}
