import { STATUS_CODES, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { HttpException } from '@nestjs/common';
import type { FastifyInstance } from 'fastify';
import { answerTo } from './error-answer.js';
import { SECURITY_HEADERS } from './security-headers.js';

const STATUS_OF_FAILURE: Record<string, number> = { ERR_HTTP_REQUEST_TIMEOUT: 408, HPE_HEADER_OVERFLOW: 431 };

/** The latest answer of each connection. */
const answers = new WeakMap<Socket, ServerResponse>();

/** Notes on which connections something is being answered, for `refuseUnreadable`. */
export function noteAnswers(server: FastifyInstance): void {
  server.addHook('onRequest', async ({ raw }, reply) => void answers.set(raw.socket, reply.raw));
}

/** Answers what never became a request: headers that are too large, too slow, or no HTTP. Then the connection is closed. */
export function refuseUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  const answer = answers.get(socket);
  // What came before it was a whole request: the next thing on this connection has to be the answer to that.
  if (answer?.req.complete && !answer.writableFinished) {
    answer.once('finish', () => socket.destroySoon());
    return;
  }
  if (socket.writable) socket.write(messageOf(STATUS_OF_FAILURE[error.code ?? ''] ?? 400));
  socket.destroy();
}

function messageOf(failure: number): string {
  const { status, body } = answerTo(new HttpException('', failure));
  const json = JSON.stringify(body);
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(json)}`,
    ...Object.entries(SECURITY_HEADERS).map(([name, value]) => `${name}: ${value}`),
    'Connection: close',
  ];
  return `${head.join('\r\n')}\r\n\r\n${json}`;
}
