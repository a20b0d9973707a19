import type { CanActivate, ExecutionContext } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import rateLimit, { normalizeIP, type CreateRateLimitOptions } from '@fastify/rate-limit';
import type { FastifyRequest } from 'fastify';
import { BerthConfig, isLoopback } from '../../config/config.js';
import { credentialOf } from './caller.js';
import { GoodCredentials } from './good-credentials.js';
import { TooManyRequestsError } from './limit-errors.js';

const MINUTE_MS = 60_000;

/** Throws where the request is one too many. */
type RateCheck = (request: FastifyRequest) => Promise<void>;

/**
 * Counts requests, in this process: for each address before anything is done for them, which a wrong credential costs as
 * much as a right one; and for each credential once it is known. What comes from this machine's own addresses is the
 * operator's in local trusted mode, and not counted by address. Elsewhere it may be a proxy's, which everybody's requests
 * come from: there only credentials that were good a moment ago are not, so that nobody uses up what they need.
 */
export async function limitRates(app: NestFastifyApplication): Promise<void> {
  const { auth, requestsPerAddress, requestsPerKey } = app.get(BerthConfig);
  await app.register(rateLimit, { global: false, timeWindow: MINUTE_MS });
  const check = (whose: 'key' | 'address', max: number, options: CreateRateLimitOptions): RateCheck => {
    const count = app
      .getHttpAdapter()
      .getInstance()
      .createRateLimit({ ...options, max });
    return async (request) => {
      const found = await count(request);
      if (found.isAllowed || !found.isExceeded) return;
      throw new TooManyRequestsError(whose, max, Math.max(1, found.ttlInSeconds));
    };
  };
  if (requestsPerAddress > 0) {
    const good = new GoodCredentials();
    if (auth === 'authenticated') app.useGlobalGuards(good);
    const allowList = (request: FastifyRequest) =>
      isLoopback(normalizeIP(request.ip)) && (auth === 'local_trusted' || isProbe(request) || good.has(request));
    app
      .getHttpAdapter()
      .getInstance()
      .addHook('onRequest', check('address', requestsPerAddress, { allowList }));
  }
  if (requestsPerKey > 0) {
    const keyGenerator = () => credentialOf() ?? '';
    const allowList = () => credentialOf() === null;
    app.useGlobalGuards(new KeyRateGuard(check('key', requestsPerKey, { keyGenerator, allowList })));
  }
}

/**
 * What asks how the server is needs no credential, and must not be told that it is too busy for whoever shows a wrong one.
 */
const isProbe = ({ routeOptions }: FastifyRequest) => routeOptions.url?.startsWith('/api/health') === true;

/** Comes after the guard that finds out who calls. */
class KeyRateGuard implements CanActivate {
  constructor(private readonly check: RateCheck) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    if (context.getType() === 'http') await this.check(context.switchToHttp().getRequest<FastifyRequest>());
    return true;
  }
}
