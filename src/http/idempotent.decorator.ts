import { applyDecorators, SetMetadata, UseInterceptors } from '@nestjs/common';
import { ApiHeader } from '@nestjs/swagger';
import { IdempotencyInterceptor, SHOWN_ONCE } from './idempotency.interceptor.js';

/**
 * Makes a POST safe to repeat under an `Idempotency-Key` header or an `idempotencyKey` in its body: handler and stored
 * answer share one transaction, so the handler must do nothing but database work.
 * @param shownOnce top-level fields of the answer that must not be kept (secrets): a repeated request is answered
 *   without them.
 */
export const Idempotent = (shownOnce: readonly string[] = []): MethodDecorator =>
  applyDecorators(
    SetMetadata(SHOWN_ONCE, shownOnce),
    UseInterceptors(IdempotencyInterceptor),
    ApiHeader({
      name: 'Idempotency-Key',
      required: false,
      description:
        'Makes the request safe to repeat for 24 hours: the same key with the same body is answered with the first ' +
        'result, with another body by 409.',
      schema: { type: 'string', minLength: 1, maxLength: 200 },
    }),
  );
