import { HttpException } from '@nestjs/common';
import type { FastifyInstance } from 'fastify';

/** The longest address, in characters: with room for the longest that a list or a stream is resumed with. */
const MAX_LENGTH = 12 * 1024;

/** Refuses addresses that are longer than any of ours, with a word of its own instead of that for all headers together. */
export function limitAddressLength(server: FastifyInstance): void {
  server.addHook('onRequest', async ({ url }) => {
    if (url.length > MAX_LENGTH) throw new HttpException('', 414);
  });
}
