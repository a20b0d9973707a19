import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import type { FastifyReply } from 'fastify';
import { newId } from '../database/id.js';
import { inTransaction } from '../database/transaction.js';
import { DomainError } from '../errors/domain-error.js';
import type { IdempotentRequest } from './idempotent-request.js';

/** An answer as it went over the wire. */
interface StoredAnswer {
  readonly statusCode: number;
  readonly answer: unknown;
}

/** One key stands for one request: another body under it is a mistake of the caller. */
export class IdempotencyKeyReusedError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'idempotency_key_reused';

  constructor(key: string) {
    super(`The idempotency key '${key}' was used for another request body within the last 24 hours`);
  }
}

/** The answers to requests that may be sent twice. */
@Injectable()
export class IdempotencyKeys {
  constructor(private readonly em: EntityManager) {}

  /**
   * Carries a request out at most once per key: the key, what is done and the answer commit together. What fails is
   * rolled back and leaves the key free.
   * @param request null for one without a key.
   * @param reply what the answer is sent with: an answer that is repeated comes with its status.
   * @param shownOnce top-level fields of the answer that are not kept.
   * @throws IdempotencyKeyReusedError
   */
  async once<T>(
    request: IdempotentRequest | null,
    reply: FastifyReply,
    carryOut: () => Promise<T>,
    shownOnce: readonly string[] = [],
  ): Promise<T> {
    if (!request) return carryOut();
    return inTransaction(this.em, async () => {
      const kept = await this.take(request);
      if (kept) {
        reply.status(kept.statusCode);
        return kept.answer as T;
      }
      const answer = await carryOut();
      // Flushed first, so that what the answer shows is what the transaction holds.
      await this.em.flush();
      await this.keep(request, { statusCode: reply.statusCode, answer: without(shownOnce, answer) });
      return answer;
    });
  }

  /**
   * The same for what is shown with more than may be kept: its id is, and a repeated request is answered with what it is
   * by then.
   * @throws IdempotencyKeyReusedError, and what `find` throws
   */
  async onceMade<T extends { id: string }>(
    request: IdempotentRequest | null,
    reply: FastifyReply,
    make: () => Promise<T>,
    find: (id: string) => Promise<T>,
  ): Promise<T> {
    let made: T | null = null;
    const { id } = await this.once(request, reply, async () => {
      made = await make();
      return { id: made.id };
    });
    return made ?? find(id);
  }

  /**
   * Takes the key for this transaction. A second request under it waits here, on the unique index, until the first has
   * committed or rolled back.
   * @returns the answer to repeat, or null if the request is to be carried out now.
   * @throws IdempotencyKeyReusedError
   */
  private async take(request: IdempotentRequest): Promise<StoredAnswer | null> {
    const { companyId, actor, route, key, keyHash, bodyHash } = request;
    const taken = await this.em.execute(
      `insert into idempotency_keys as kept (id, company_id, actor, route, key, body_hash, status_code, answer)
       values (?, ?, ?, ?, ?, ?, 0, 'null')
       on conflict on constraint idempotency_keys_unique do update
         set id = excluded.id, body_hash = excluded.body_hash, created_at = now()
         where kept.created_at < now() - interval '24 hours'
       returning id`,
      [newId(), companyId, actor, route, keyHash, bodyHash],
    );
    if (taken.length > 0) return null;
    const [kept] = await this.em.execute<{ same_body: boolean; status_code: number; answer: unknown }[]>(
      `select body_hash = ? as same_body, status_code, answer from idempotency_keys
       where company_id is not distinct from ? and actor = ? and route = ? and key = ?`,
      [bodyHash, companyId, actor, route, keyHash],
    );
    if (!kept?.same_body) throw new IdempotencyKeyReusedError(key);
    return { statusCode: kept.status_code, answer: kept.answer };
  }

  /** Keeps the answer to the request that took the key. */
  private async keep(request: IdempotentRequest, { statusCode, answer }: StoredAnswer): Promise<void> {
    const { companyId, actor, route, keyHash } = request;
    await this.em.execute(
      `update idempotency_keys set status_code = ?, answer = ?::jsonb
       where company_id is not distinct from ? and actor = ? and route = ? and key = ?`,
      [statusCode, JSON.stringify(answer), companyId, actor, route, keyHash],
    );
  }

  /**
   * Removes up to `limit` answers that are too old to be repeated, past those that another process is removing now.
   * @returns how many it removed
   */
  async forgetOld(limit: number): Promise<number> {
    const forgotten = await this.em.fork().execute(
      `delete from idempotency_keys where id in (
         select id from idempotency_keys where created_at < now() - interval '24 hours'
         order by created_at limit ? for update skip locked)
       returning id`,
      [limit],
    );
    return forgotten.length;
  }
}

function without(fields: readonly string[], answer: unknown): unknown {
  if (fields.length === 0 || typeof answer !== 'object' || answer === null) return answer;
  return Object.fromEntries(Object.entries(answer).filter(([field]) => !fields.includes(field)));
}
