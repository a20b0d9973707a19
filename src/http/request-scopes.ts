import type { FastifyInstance } from 'fastify';
import { systemActor } from '../events/actor.js';
import { runInScope } from '../events/request-scope.js';

/** Who acts until the guard has checked credentials. */
const NOBODY_YET = systemActor('http');

/**
 * Runs every request in a scope of its own, under the request's id, which the answer returns. The scope outlives the
 * reading of the body: Fastify restores the async context after it.
 */
export function openRequestScopes(fastify: FastifyInstance): void {
  fastify.addHook('onRequest', ({ id }, reply, done) => {
    reply.header('X-Request-Id', id);
    runInScope({ actor: NOBODY_YET, requestId: id }, done);
  });
}
