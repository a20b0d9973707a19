import { Injectable, type CallHandler, type ExecutionContext, type NestInterceptor } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { from, lastValueFrom, type Observable } from 'rxjs';
import { IdempotencyKeys } from './idempotency-keys.js';
import { identify } from './idempotent-request.js';

/** Metadata key of the fields of an answer that are shown once and not kept. */
export const SHOWN_ONCE = 'berth:idempotent-shown-once';

/** Carries a whole handler out at most once per idempotency key. */
@Injectable()
export class IdempotencyInterceptor implements NestInterceptor {
  constructor(
    private readonly keys: IdempotencyKeys,
    private readonly reflector: Reflector,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const http = context.switchToHttp();
    const request = identify(http.getRequest<FastifyRequest>());
    if (!request) return next.handle();
    const shownOnce = this.reflector.get<readonly string[]>(SHOWN_ONCE, context.getHandler());
    const handle = () => lastValueFrom(next.handle(), { defaultValue: null });
    return from(this.keys.once(request, http.getResponse<FastifyReply>(), handle, shownOnce));
  }
}
