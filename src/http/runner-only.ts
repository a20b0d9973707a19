import type { FastifyInstance } from 'fastify';

/** A process that only executes runs answers how it is and what it measures, and nothing else. */
export function serveHealthOnly(server: FastifyInstance): void {
  server.addHook('onRequest', async (request, reply) => {
    if (/^\/(api\/health|metrics)(\/|\?|$)/.test(request.url)) return;
    await reply.code(404).send({
      error: 'This process only executes runs: ask one that has the role api',
      code: 'not_served_here',
    });
  });
}
