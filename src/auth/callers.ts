import { Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { BerthConfig } from '../config/config.js';
import { LOCAL_OPERATOR, type Caller } from '../events/actor.js';
import { UnauthenticatedError } from './auth-errors.js';
import { CredentialResolvers } from './credential-resolvers.js';

/** What a request shows. */
type Shown = Pick<FastifyRequest, 'headers'>;

/** What proxies say of those they ask for. */
const OF_PROXIES = ['x-forwarded-for', 'forwarded', 'x-real-ip'];

/** How often what a request showed is looked at again while it stays open, in milliseconds. */
const RECHECK_MS = 15_000;

/**
 * Finds out who calls: when a request comes, and again while it stays open, as its credential may end before it does. In
 * local trusted mode a caller on this machine without credentials is the operator; one who shows some is held to them.
 */
@Injectable()
export class Callers {
  constructor(
    private readonly credentials: CredentialResolvers,
    private readonly config: BerthConfig,
  ) {}

  /** @throws UnauthenticatedError */
  async of({ headers }: Shown): Promise<Caller> {
    const { authorization } = headers;
    if (authorization === undefined) {
      if (this.config.auth === 'local_trusted') return operatorHere(headers);
      throw new UnauthenticatedError('A credential is needed: send the header "Authorization: Bearer <key>"');
    }
    const token = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
    if (!token) throw new UnauthenticatedError('The Authorization header has to read "Bearer <token>"');
    const caller = await this.credentials.resolve(token);
    if (!caller) throw new UnauthenticatedError('This token is unknown, revoked, expired, or outlived its run');
    return caller;
  }

  /**
   * For a request that stays open, to be called as often as something is done for it.
   * @returns what looks at its credential every 15 seconds, and throws UnauthenticatedError once it is not good any more.
   */
  recheck(request: Shown): () => Promise<void> {
    let lookedAt = performance.now();
    return async () => {
      if (performance.now() - lookedAt < RECHECK_MS) return;
      await this.of(request);
      lookedAt = performance.now();
    };
  }
}

/** Whom a proxy asks for is not on this machine, and nobody knows who it is. */
function operatorHere(headers: Shown['headers']): Caller {
  if (!OF_PROXIES.some((name) => name in headers)) return LOCAL_OPERATOR;
  throw new UnauthenticatedError(
    'A request through a proxy needs a credential: send the header "Authorization: Bearer <key>", and run a server ' +
      'that others reach with BERTH_AUTH=authenticated',
  );
}
