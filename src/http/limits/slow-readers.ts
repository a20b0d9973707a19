import type { FastifyInstance } from 'fastify';

/** Gives up on clients that leave what they are answered unread: it waits in memory until they do. */
export function dropSlowReaders(server: FastifyInstance, clientTimeoutSec: number): void {
  server.addHook('onSend', async (_request, reply, payload) => {
    reply.raw.setTimeout(clientTimeoutSec * 1000, () => reply.raw.destroy());
    return payload;
  });
}
