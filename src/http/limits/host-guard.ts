import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { isLoopback, type BerthConfig } from '../../config/config.js';
import { ForeignOriginError, UnknownHostError } from './limit-errors.js';

const READING = new Set(['GET', 'HEAD', 'OPTIONS']);
/** A name or an address, and a port: what an address may hold beside them has no place in the header. */
const HOST = /^[\w.-]+(:\d+)?$|^\[[\da-f:.]+\](:\d+)?$/i;

/**
 * On a server that only this machine reaches, whoever reaches it is the operator, and so is every web page that the
 * operator's browser shows. A page of another site is kept from it by two rules: only names that no other site can have
 * are answered to, so that a name which is pointed here after the page was loaded gains nothing; and what a browser says
 * it sends for another site changes nothing.
 */
export function guardHost(server: FastifyInstance, config: BerthConfig): void {
  server.addHook('onRequest', async ({ method, headers }) => {
    const ours = new URL(config.publicUrl);
    const name = nameIn(headers.host);
    if (name === null || (!isLoopback(name) && name !== hostnameOf(ours))) throw new UnknownHostError();
    if (!READING.has(method) && !isOwnPage(headers, ours)) throw new ForeignOriginError();
  });
}

/** The name as addresses have it, in small letters and with numbers written out. */
function nameIn(host: string | undefined): string | null {
  const url = host !== undefined && HOST.test(host) ? URL.parse(`http://${host}`) : null;
  return url && hostnameOf(url);
}

/** Programs say nothing of themselves; a browser names the site that it sends for. A page's scheme is a proxy's affair. */
function isOwnPage({ host, origin, 'sec-fetch-site': site }: IncomingHttpHeaders, ours: URL): boolean {
  if (origin === undefined) return site !== 'cross-site' && site !== 'same-site';
  const from = URL.parse(origin)?.host;
  return from !== undefined && from !== '' && (from === host?.toLowerCase() || from === ours.host);
}

/** As it is written outside addresses. */
const hostnameOf = ({ hostname }: URL) => hostname.replace(/^\[|\]$/g, '');
