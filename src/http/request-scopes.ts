import { RequestContext, type EntityManager } from '@mikro-orm/core';
import type { FastifyInstance } from 'fastify';
import { systemActor } from '../events/actor.js';
import { runInScope } from '../events/request-scope.js';

/** Who acts until the guard has checked credentials. */
const NOBODY_YET = systemActor('http');

/**
 * Runs every request in a scope of its own, under the request's id, which the answer returns, and with a unit of work of
 * its own. The scope outlives the reading of the body: Fastify restores the async context after it.
 */
export function openRequestScopes(fastify: FastifyInstance, em: EntityManager): void {
  fastify.addHook('onRequest', ({ id }, reply, done) => {
    reply.header('X-Request-Id', id);
    runInScope({ actor: NOBODY_YET, requestId: id }, () => RequestContext.create(em, done));
  });
}
