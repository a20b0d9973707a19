import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { HttpException } from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import type { BerthConfig } from '../config/config.js';
import { answerTo } from './error-answer.js';
import { SECURITY_HEADERS } from './security-headers.js';
import { refuseUnreadable } from './unreadable-requests.js';

const BODY_LIMIT_BYTES = 1024 * 1024;
/** The first line, with the address, and all headers. */
const MAX_HEAD_BYTES = 16 * 1024;
/** How often Node looks for requests that take too long, at most; in milliseconds. */
const LOOK_MS = 5_000;
/** How long the head of a request may take, at most; in milliseconds. */
const HEAD_MS = 15_000;

/** What a caller may choose as the id of its request: short, and harmless in a log line or a header. */
const CALLERS_ID = /^[\w.:@/+=-]{1,128}$/;

/** The server below the application. Gives each request an id: the caller's `X-Request-Id`, or one made here. */
export function createHttpAdapter(config: BerthConfig, bodyLimit = BODY_LIMIT_BYTES): FastifyAdapter {
  const requestTimeout = config.clientTimeoutSec * 1000;
  return new FastifyAdapter({
    bodyLimit,
    requestTimeout,
    http: {
      requestTimeout,
      headersTimeout: Math.min(requestTimeout, HEAD_MS),
      connectionsCheckingInterval: Math.min(requestTimeout, LOOK_MS),
      maxHeaderSize: MAX_HEAD_BYTES,
    },
    trustProxy: config.trustedProxies.length > 0 ? [...config.trustedProxies] : false,
    clientErrorHandler: refuseUnreadable,
    // There is no middleware: what every request needs is done in hooks of the server, which cost less.
    skipMiddie: true,
    genReqId: ({ headers }: Pick<IncomingMessage, 'headers'>) => {
      const asked = headers['x-request-id'];
      return typeof asked === 'string' && CALLERS_ID.test(asked) ? asked : randomUUID();
    },
    // The router refuses a malformed path before any hook, filter or handler of ours.
    frameworkErrors: (error: FastifyError, { id }: FastifyRequest, reply: FastifyReply) => {
      const { status, body } = answerTo(new HttpException(error.message, error.statusCode ?? 400));
      reply.status(status).headers(SECURITY_HEADERS).header('X-Request-Id', id).send(body);
    },
  });
}
