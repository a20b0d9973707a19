import { createHash } from 'node:crypto';
import { Injectable, type CallHandler, type ExecutionContext, type NestInterceptor } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { EntityManager } from '@mikro-orm/postgresql';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { from, lastValueFrom, type Observable } from 'rxjs';
import { validate } from 'uuid';
import { inTransaction } from '../database/transaction.js';
import { InvalidInputError } from '../errors/domain-error.js';
import { currentActor } from '../events/request-scope.js';
import { IdempotencyKeys, type IdempotentRequest } from './idempotency-keys.js';

/** Metadata key of the fields of an answer that are shown once and not kept. */
export const SHOWN_ONCE = 'berth:idempotent-shown-once';

const MAX_KEY_LENGTH = 200;

/**
 * Carries a request out at most once per idempotency key: the key, what the handler does and the answer commit
 * together. What fails is rolled back and leaves the key free.
 */
@Injectable()
export class IdempotencyInterceptor implements NestInterceptor {
  constructor(
    private readonly em: EntityManager,
    private readonly keys: IdempotencyKeys,
    private readonly reflector: Reflector,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const http = context.switchToHttp();
    const request = identify(http.getRequest<FastifyRequest>());
    if (!request) return next.handle();
    const shownOnce = this.reflector.get<readonly string[]>(SHOWN_ONCE, context.getHandler());
    return from(this.once(request, next, http.getResponse<FastifyReply>(), shownOnce));
  }

  private once(
    request: IdempotentRequest,
    next: CallHandler,
    reply: FastifyReply,
    shownOnce: readonly string[],
  ): Promise<unknown> {
    return inTransaction(this.em, async () => {
      const kept = await this.keys.take(request);
      if (kept) {
        reply.status(kept.statusCode);
        return kept.answer;
      }
      const answer: unknown = await lastValueFrom(next.handle(), { defaultValue: null });
      // Flushed first, so that what the answer shows is what the transaction holds.
      await this.em.flush();
      await this.keys.keep(request, { statusCode: reply.statusCode, answer: without(shownOnce, answer) });
      return answer;
    });
  }
}

/** @returns null for a request without a key, which is carried out as often as it is sent. */
function identify(request: FastifyRequest): IdempotentRequest | null {
  const key = keyOf(request);
  if (key === null) return null;
  const { companyId } = request.params as { companyId?: string };
  const actor = currentActor();
  return {
    companyId: companyId !== undefined && validate(companyId) ? companyId : null,
    actor: `${actor.type}:${actor.id}`,
    route: `${request.method} ${request.url.split('?', 1)[0]}`,
    key,
    bodyHash: createHash('sha256').update(canonicalJson(request.body)).digest(),
  };
}

/** @throws InvalidInputError when there is a key that cannot be one. */
function keyOf(request: FastifyRequest): string | null {
  const inBody = (request.body as { idempotencyKey?: unknown } | null | undefined)?.idempotencyKey;
  const header = request.headers['idempotency-key'];
  const [key, field] = header === undefined ? [inBody, 'idempotencyKey'] : [header, 'Idempotency-Key'];
  if (key === undefined || key === null) return null;
  if (typeof key === 'string' && key.length >= 1 && key.length <= MAX_KEY_LENGTH) return key;
  const message = `must be a text of 1 to ${MAX_KEY_LENGTH} characters`;
  throw new InvalidInputError(`Invalid input: ${field} ${message}`, [{ field, message }]);
}

/** The same text for the same content, in whatever order a client writes the fields. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value ?? null, (_key, nested: unknown) =>
    typeof nested === 'object' && nested !== null && !Array.isArray(nested)
      ? Object.fromEntries(Object.entries(nested).sort(([a], [b]) => (a < b ? -1 : 1)))
      : nested,
  );
}

function without(fields: readonly string[], answer: unknown): unknown {
  if (fields.length === 0 || typeof answer !== 'object' || answer === null) return answer;
  return Object.fromEntries(Object.entries(answer).filter(([field]) => !fields.includes(field)));
}
