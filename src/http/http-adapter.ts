import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { HttpException } from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { answerTo } from './error-answer.js';

const BODY_LIMIT_BYTES = 1024 * 1024;

/** What a caller may choose as the id of its request: short, and harmless in a log line or a header. */
const CALLERS_ID = /^[\w.:@/+=-]{1,128}$/;

/** The server below the application. Gives each request an id: the caller's `X-Request-Id`, or one made here. */
export const createHttpAdapter = (bodyLimit = BODY_LIMIT_BYTES): FastifyAdapter =>
  new FastifyAdapter({
    bodyLimit,
    // There is no middleware: what every request needs is done in hooks of the server, which cost less.
    skipMiddie: true,
    genReqId: ({ headers }: Pick<IncomingMessage, 'headers'>) => {
      const asked = headers['x-request-id'];
      return typeof asked === 'string' && CALLERS_ID.test(asked) ? asked : randomUUID();
    },
    // The router refuses a malformed path before any hook, filter or handler of ours.
    frameworkErrors: (error: FastifyError, { id }: FastifyRequest, reply: FastifyReply) => {
      const { status, body } = answerTo(new HttpException(error.message, error.statusCode ?? 400));
      reply.status(status).header('X-Request-Id', id).send(body);
    },
  });
