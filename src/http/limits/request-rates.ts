import type { CanActivate, ExecutionContext } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import rateLimit, { normalizeIP, type CreateRateLimitOptions } from '@fastify/rate-limit';
import type { FastifyRequest } from 'fastify';
import { BerthConfig, isLoopback } from '../../config/config.js';
import { credentialOf } from './caller.js';
import { TooManyRequestsError } from './limit-errors.js';

const MINUTE_MS = 60_000;

/** Throws where the request is one too many. */
type RateCheck = (request: FastifyRequest) => Promise<void>;

/**
 * Counts requests, in this process: for each address before anything is done for them, which a wrong credential costs as
 * much as a right one; and for each credential once it is known. This machine's own addresses are not counted: whatever
 * comes from there without a credential is the operator.
 */
export async function limitRates(app: NestFastifyApplication): Promise<void> {
  const { requestsPerAddress, requestsPerKey } = app.get(BerthConfig);
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
    const allowList = ({ ip }: FastifyRequest) => isLoopback(normalizeIP(ip));
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

/** Comes after the guard that finds out who calls. */
class KeyRateGuard implements CanActivate {
  constructor(private readonly check: RateCheck) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    if (context.getType() === 'http') await this.check(context.switchToHttp().getRequest<FastifyRequest>());
    return true;
  }
}
