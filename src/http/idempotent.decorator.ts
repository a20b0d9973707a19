import {
  applyDecorators,
  createParamDecorator,
  SetMetadata,
  UseInterceptors,
  type ExecutionContext,
} from '@nestjs/common';
import { ApiHeader } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { IdempotencyInterceptor, SHOWN_ONCE } from './idempotency.interceptor.js';
import { identify } from './idempotent-request.js';

const KeyHeader = (): MethodDecorator =>
  ApiHeader({
    name: 'Idempotency-Key',
    required: false,
    description:
      'Makes the request safe to repeat for 24 hours: the same key with the same body is answered with the first ' +
      'result, with another body by 409.',
    schema: { type: 'string', minLength: 1, maxLength: 200 },
  });

/**
 * Makes a POST safe to repeat under an `Idempotency-Key` header or an `idempotencyKey` in its body: handler and stored
 * answer share one transaction, so the handler must do nothing but database work.
 * @param shownOnce top-level fields of the answer that must not be kept (secrets): a repeated request is answered
 *   without them.
 */
export const Idempotent = (shownOnce: readonly string[] = []): MethodDecorator =>
  applyDecorators(SetMetadata(SHOWN_ONCE, shownOnce), UseInterceptors(IdempotencyInterceptor), KeyHeader());

/**
 * The same for a POST whose handler takes the key itself, by `@RepeatOf()` and `IdempotencyKeys`: because it waits before it
 * changes anything, and may not hold a transaction meanwhile, or because it answers what may not be kept.
 */
export const IdempotentOnceDone = KeyHeader;

/** Which earlier request this one may be a repeat of: an `IdempotentRequest`, or null for one without a key. */
export const RepeatOf = createParamDecorator((_: unknown, context: ExecutionContext) =>
  identify(context.switchToHttp().getRequest<FastifyRequest>()),
);
