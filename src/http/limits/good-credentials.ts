import { hash } from 'node:crypto';
import type { CanActivate, ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { credentialOf } from './caller.js';

/** How long a credential counts as good after it was, in milliseconds. */
const GOOD_MS = 60_000;
/** Most that are remembered; of those who are forgotten, a request counts as if its credential were new. */
const MOST = 10_000;

/** Which credentials were good a moment ago, as hashes. Comes after the guard that finds out who calls. */
export class GoodCredentials implements CanActivate {
  private readonly seenAt = new Map<string, number>();

  canActivate(context: ExecutionContext): boolean {
    if (context.getType() === 'http' && credentialOf() !== null) {
      this.note(keyOf(context.switchToHttp().getRequest<FastifyRequest>()));
    }
    return true;
  }

  has(request: FastifyRequest): boolean {
    const at = this.seenAt.get(keyOf(request));
    return at !== undefined && performance.now() - at < GOOD_MS;
  }

  private note(key: string): void {
    this.seenAt.delete(key);
    this.seenAt.set(key, performance.now());
    if (this.seenAt.size > MOST) this.seenAt.delete(this.seenAt.keys().next().value!);
  }
}

const keyOf = ({ headers }: FastifyRequest) => hash('sha256', headers.authorization ?? '', 'base64');
