import { request as requestHttp, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { LookupFunction } from 'node:net';

/** How much of an answer is kept; what comes beyond it is not read. */
export const MAX_BODY_BYTES = 64 * 1024;

/** One request. Redirects are not followed. */
export interface HttpRequest {
  readonly url: URL;
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly body: string | null;
  /** Finds the addresses of a host, and leaves out those that may not be called. */
  readonly lookup: LookupFunction;
  readonly signal: AbortSignal;
}

/** Its answer, as much of it as is kept. */
export interface HttpAnswer {
  readonly status: number;
  readonly statusText: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
  readonly truncated: boolean;
}

/**
 * Sends a request and reads the beginning of its answer. Not `fetch`, which gives up on its own after five minutes
 * without a byte. The connection is new each time: one kept from before may have been closed by its other end.
 * @throws what the network or `signal` ended it with.
 */
export async function exchange(request: HttpRequest): Promise<HttpAnswer> {
  const response = await send(request);
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) break; // leaving the loop closes the connection
  }
  return {
    status: response.statusCode ?? 0,
    statusText: response.statusMessage ?? '',
    headers: response.headers,
    body: Buffer.concat(chunks).subarray(0, MAX_BODY_BYTES),
    truncated: bytes > MAX_BODY_BYTES,
  };
}

function send({ url, method, headers, body, lookup, signal }: HttpRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = url.protocol === 'https:' ? requestHttps : requestHttp;
    request(url, { method, headers, lookup, signal, agent: false }, resolve)
      .on('error', reject)
      .end(body ?? undefined);
  });
}
