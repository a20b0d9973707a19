import type { FastifyInstance } from 'fastify';
import { newId } from '../database/id.js';
import { systemActor } from '../events/actor.js';
import { runInScope } from '../events/request-scope.js';

/** Who acts until the guard has checked credentials. */
const NOBODY_YET = systemActor('http');

/** What a caller may choose as the id of its request: short, and harmless in a log line or a header. */
const CALLERS_ID = /^[\w.:@/+=-]{1,128}$/;

/**
 * Runs every request in a scope of its own, under an id that is the caller's `X-Request-Id` or made here, and that the
 * answer returns. The scope outlives the reading of the body: Fastify restores the async context after it.
 */
export function openRequestScopes(fastify: FastifyInstance): void {
  fastify.addHook('onRequest', (request, reply, done) => {
    const asked = request.headers['x-request-id'];
    const requestId = typeof asked === 'string' && CALLERS_ID.test(asked) ? asked : newId();
    // Also where the log of requests takes it from.
    Object.assign(request, { id: requestId });
    Object.assign(request.raw, { id: requestId });
    reply.header('X-Request-Id', requestId);
    runInScope({ actor: NOBODY_YET, requestId }, done);
  });
}
