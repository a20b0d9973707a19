import { Agent, request } from 'node:http';
import type { FuzzRequest } from './requests.js';

/** An answer that does not come until then will not come at all. */
const PATIENCE_MS = 20_000;

export interface FuzzAnswer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

/** Sends requests as they are, over few connections. */
export class Attacker {
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 1 });

  constructor(private readonly url: URL) {}

  /** @throws Error when there is no whole answer: the connection broke, or the server hangs. */
  send({ method, target, headers, body }: FuzzRequest): Promise<FuzzAnswer> {
    const { hostname, port } = this.url;
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          hostname,
          port,
          method,
          path: target,
          // Node's client leaves it out with some methods, and the body would be another request then.
          headers: { ...(body === null ? {} : { 'content-length': Buffer.byteLength(body) }), ...headers },
          agent: this.agent,
          signal: AbortSignal.timeout(PATIENCE_MS),
        },
        (answer) => {
          const type = answer.headers['content-type'] ?? '';
          let text = '';
          const done = () => resolve({ status: answer.statusCode ?? 0, type, text });
          answer.setEncoding('utf8').on('data', (piece: string) => (text += piece));
          answer.on('end', done).on('error', reject);
          // A stream does not end by itself.
          if (type.startsWith('text/event-stream')) {
            done();
            sent.destroy();
          }
        },
      );
      sent.on('error', reject).end(body ?? undefined);
    });
  }

  close(): void {
    this.agent.destroy();
  }
}
