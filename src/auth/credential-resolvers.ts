import { Injectable } from '@nestjs/common';
import type { Caller } from '../events/actor.js';

/** Finds out who shows one kind of token. */
export interface CredentialResolver {
  /** How its tokens begin; empty for tokens that begin like no other kind. */
  readonly prefix: string;
  /** @returns null when the token is unknown, revoked or outlived. */
  resolve(token: string): Promise<Caller | null>;
}

/** The kinds of token that are honoured. Who issues one puts its resolver in here at start. */
@Injectable()
export class CredentialResolvers {
  private readonly resolvers: CredentialResolver[] = [];

  register(resolver: CredentialResolver): void {
    this.resolvers.push(resolver);
    this.resolvers.sort((a, b) => b.prefix.length - a.prefix.length);
  }

  /** @returns null when nobody stands behind the token. */
  async resolve(token: string): Promise<Caller | null> {
    const resolver = this.resolvers.find(({ prefix }) => token.startsWith(prefix));
    return resolver ? resolver.resolve(token) : null;
  }
}
