import { once } from 'node:events';
import type { FastifyReply } from 'fastify';

/** How long a client waits before it reconnects, in milliseconds. */
const RETRY_MS = 2_000;

/** One open answer of Server-Sent Events. */
export class SseConnection {
  private readonly ended = new AbortController();

  private constructor(
    private readonly reply: FastifyReply,
    private readonly patienceMs: number,
  ) {
    reply.raw.once('close', () => this.ended.abort());
    reply.raw.on('error', () => this.ended.abort());
  }

  /**
   * Sends the head of the answer; from here on the framework leaves it alone.
   * @param patienceMs how long a client may leave what it was sent unread.
   */
  static open(reply: FastifyReply, patienceMs: number): SseConnection {
    reply.hijack();
    const connection = new SseConnection(reply, patienceMs);
    reply.raw.writeHead(200, {
      ...(reply.getHeaders() as Record<string, string>),
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-cache, no-transform',
      // Proxies that buffer would hold events back.
      'X-Accel-Buffering': 'no',
    });
    reply.raw.write(`retry: ${RETRY_MS}\n\n`);
    return connection;
  }

  /** Aborted once the client is gone or the stream was ended. */
  get closed(): AbortSignal {
    return this.ended.signal;
  }

  /**
   * Writes text that is made of whole events. Returns once a client that reads slowly has caught up, or is gone: no more
   * than this waits in memory. A client that does not catch up is given up, and resumes when it comes back.
   */
  async send(events: string): Promise<void> {
    if (this.closed.aborted || this.reply.raw.write(events)) return;
    const patience = setTimeout(() => this.end(), this.patienceMs);
    await once(this.reply.raw, 'drain', { signal: this.closed }).catch(() => undefined);
    clearTimeout(patience);
  }

  /** Ends the answer; what the client has not read yet is not waited for. */
  end(): void {
    this.ended.abort();
    if (this.reply.raw.writableNeedDrain) this.reply.raw.destroy();
    else this.reply.raw.end();
  }
}

/** One event; without data it only moves the id from which a client resumes. */
export function sseEvent(id: string, data?: unknown): string {
  return `id: ${id}\n${data === undefined ? '' : `data: ${JSON.stringify(data)}\n`}\n`;
}
