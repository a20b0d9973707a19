import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { newId } from '../database/id.js';
import { DomainError } from '../errors/domain-error.js';

/** What makes two requests the same wish: who asks what of which route, under which key. */
export interface IdempotentRequest {
  /** The tenant that the path names, if it names one. */
  readonly companyId: string | null;
  readonly actor: string;
  /** Method and concrete path. */
  readonly route: string;
  readonly key: string;
  readonly bodyHash: Buffer;
}

/** An answer as it went over the wire. */
export interface StoredAnswer {
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

/** The answers to requests that may be sent twice. Every method belongs into the transaction that carries one out. */
@Injectable()
export class IdempotencyKeys {
  constructor(private readonly em: EntityManager) {}

  /**
   * Takes the key for this transaction. A second request under it waits here, on the unique index, until the first has
   * committed or rolled back.
   * @returns the answer to repeat, or null if the request is to be carried out now.
   * @throws IdempotencyKeyReusedError
   */
  async take(request: IdempotentRequest): Promise<StoredAnswer | null> {
    const { companyId, actor, route, key, bodyHash } = request;
    const taken = await this.em.execute(
      `insert into idempotency_keys as kept (id, company_id, actor, route, key, body_hash, status_code, answer)
       values (?, ?, ?, ?, ?, ?, 0, 'null')
       on conflict on constraint idempotency_keys_unique do update
         set id = excluded.id, body_hash = excluded.body_hash, created_at = now()
         where kept.created_at < now() - interval '24 hours'
       returning id`,
      [newId(), companyId, actor, route, key, bodyHash],
    );
    if (taken.length > 0) return null;
    const [kept] = await this.em.execute<{ same_body: boolean; status_code: number; answer: unknown }[]>(
      `select body_hash = ? as same_body, status_code, answer from idempotency_keys
       where company_id is not distinct from ? and actor = ? and route = ? and key = ?`,
      [bodyHash, companyId, actor, route, key],
    );
    if (!kept?.same_body) throw new IdempotencyKeyReusedError(key);
    return { statusCode: kept.status_code, answer: kept.answer };
  }

  /** Keeps the answer to the request that took the key. */
  async keep(request: IdempotentRequest, { statusCode, answer }: StoredAnswer): Promise<void> {
    const { companyId, actor, route, key } = request;
    await this.em.execute(
      `update idempotency_keys set status_code = ?, answer = ?::jsonb
       where company_id is not distinct from ? and actor = ? and route = ? and key = ?`,
      [statusCode, JSON.stringify(answer), companyId, actor, route, key],
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
