import type { FastifyInstance } from 'fastify';

/** The page of the API's documentation brings its styles and icons inline. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "object-src 'none'",
  "base-uri 'self'",
  "form-action 'self'",
  "frame-ancestors 'none'",
];

/**
 * Tell browsers to use nothing here for another site, and nothing of another site in our pages. Nothing is said of
 * HTTPS, which is the business of the proxy that speaks it. There are no cookies, and CORS is left off.
 */
export const SECURITY_HEADERS = {
  'Content-Security-Policy': CONTENT_SECURITY_POLICY.join('; '),
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Origin-Agent-Cluster': '?1',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-DNS-Prefetch-Control': 'off',
  'X-Frame-Options': 'DENY',
  'X-Permitted-Cross-Domain-Policies': 'none',
  // The filter that browsers had can itself be used against a page.
  'X-XSS-Protection': '0',
};

/** For every request that reaches a hook; what is refused before that is sent them where it is refused. */
export function sendSecurityHeaders(server: FastifyInstance): void {
  server.addHook('onRequest', async (_request, reply) => void reply.headers(SECURITY_HEADERS));
}
