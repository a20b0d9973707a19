import { HttpException } from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { newId } from '../database/id.js';
import { answerTo } from './error-answer.js';

const BODY_LIMIT_BYTES = 1024 * 1024;

/** The server below the application. */
export const createHttpAdapter = (bodyLimit = BODY_LIMIT_BYTES): FastifyAdapter =>
  new FastifyAdapter({
    bodyLimit,
    // The router refuses a malformed path before any hook, filter or handler of ours.
    frameworkErrors: (error: FastifyError, _request: FastifyRequest, reply: FastifyReply) => {
      const { status, body } = answerTo(new HttpException(error.message, error.statusCode ?? 400));
      reply.status(status).header('X-Request-Id', newId()).send(body);
    },
  });
