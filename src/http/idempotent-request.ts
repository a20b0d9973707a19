import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { validate } from 'uuid';
import { InvalidInputError } from '../errors/domain-error.js';
import { currentActor } from '../events/request-scope.js';

/** What makes two requests the same wish: who asks what of which route, under which key. */
export interface IdempotentRequest {
  /** The tenant that the path names, if it names one. */
  readonly companyId: string | null;
  readonly actor: string;
  /** Method and concrete path. */
  readonly route: string;
  readonly key: string;
  /** All that is kept of the key: a caller may have put anything into it. */
  readonly keyHash: string;
  readonly bodyHash: Buffer;
}

const MAX_KEY_LENGTH = 200;

/** @returns null for a request without a key, which is carried out as often as it is sent. */
export function identify(request: FastifyRequest): IdempotentRequest | null {
  const key = keyOf(request);
  if (key === null) return null;
  const { companyId } = request.params as { companyId?: string };
  const actor = currentActor();
  return {
    companyId: companyId !== undefined && validate(companyId) ? companyId : null,
    actor: `${actor.type}:${actor.id}`,
    route: `${request.method} ${request.url.split('?', 1)[0]}`,
    key,
    keyHash: createHash('sha256').update(key).digest('hex'),
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
