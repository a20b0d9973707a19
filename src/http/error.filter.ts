import { Catch, Logger, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { throwError } from 'rxjs';
import { answerTo } from './error-answer.js';

/** The one place where errors become answers. */
@Catch()
export class ErrorFilter implements ExceptionFilter {
  private readonly logger = new Logger(ErrorFilter.name);

  /** Outside HTTP (the execution of a heartbeat) the error is passed on as it is. */
  catch(error: unknown, host: ArgumentsHost): unknown {
    if (host.getType() !== 'http') return throwError(() => error);
    const request = host.switchToHttp().getRequest<FastifyRequest>();
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    const { status, body, retryAfterSec, unexpected } = answerTo(error);
    if (unexpected) {
      const where = { requestId: request.id, method: request.method, url: request.url, status };
      this.logger.error({ err: error, ...where }, 'A request failed');
    }
    if (reply.sent) return undefined;
    if (retryAfterSec !== undefined) reply.header('Retry-After', retryAfterSec);
    // A connection that is kept for further requests would keep the server from closing.
    if (body.code === 'shutting_down') reply.header('Connection', 'close');
    if (status === 401) reply.header('WWW-Authenticate', 'Bearer');
    return reply.status(status).type('application/json; charset=utf-8').send(body);
  }
}
