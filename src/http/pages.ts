import type { FastifyInstance } from 'fastify';
import { Page } from '../database/page.js';

/** Answers a `Page` as a bare array; where the next page is goes into the `Link` header. */
export function answerPages(fastify: FastifyInstance): void {
  fastify.addHook('preSerialization', (request, reply, answer, done) => {
    if (!(answer instanceof Page)) return done(null, answer);
    if (answer.nextCursor !== null) {
      const [path = '', query] = request.url.split('?', 2);
      const parameters = new URLSearchParams(query);
      parameters.set('cursor', answer.nextCursor);
      reply.header('Link', `<${path}?${parameters.toString()}>; rel="next"`);
    }
    done(null, answer.items);
  });
}
