import { isLoopback, localUrl, type BerthConfig } from './config.js';

/**
 * What a server says once it listens: where it is reached from this machine and by others, who may call, and what to see
 * to. The first line is for programs too.
 */
export function readyMessage({ host, port, publicUrl, auth }: BerthConfig): string {
  const address = localUrl(host, port);
  const lines = [`Berth is ready. The API is at ${address}/api, its documentation at ${address}/docs.`];
  if (publicUrl !== address) lines.push(`Agents reach it at ${publicUrl}/api.`);
  if (auth === 'authenticated') lines.push('Every request needs a key: Authorization: Bearer <key>.');
  if (!isLoopback(host) && !publicUrl.startsWith('https:')) {
    lines.push(
      'Keys cross the network in the clear: put TLS in front, and set BERTH_PUBLIC_URL to the https address there.',
    );
  }
  return lines.join('\n');
}
