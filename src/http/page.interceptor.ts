import { Injectable, type CallHandler, type ExecutionContext, type NestInterceptor } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { map, type Observable } from 'rxjs';
import { Page } from '../database/page.js';

/** Answers a `Page` as a bare array; where the next page is goes into the `Link` header. */
@Injectable()
export class PageInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next
      .handle()
      .pipe(map((answer: unknown) => (answer instanceof Page ? this.unwrap(answer, context) : answer)));
  }

  private unwrap(page: Page<unknown>, context: ExecutionContext): unknown[] {
    if (page.nextCursor !== null) {
      const { url } = context.switchToHttp().getRequest<FastifyRequest>();
      const [path = '', query] = url.split('?', 2);
      const parameters = new URLSearchParams(query);
      parameters.set('cursor', page.nextCursor);
      context
        .switchToHttp()
        .getResponse<FastifyReply>()
        .header('Link', `<${path}?${parameters.toString()}>; rel="next"`);
    }
    return page.items;
  }
}
