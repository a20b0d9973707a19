import { Injectable } from '@nestjs/common';
import type { Actor } from '../events/actor.js';

/** Finds out who shows one kind of token. */
export interface CredentialResolver {
  /** How its tokens begin; see `tokenPrefix`. */
  readonly prefix: string;
  /** @returns null when the token is unknown, revoked or outlived. */
  resolve(token: string): Promise<Actor | null>;
}

/** The kinds of token that are honoured. Who issues one lives above this module and puts its resolver in here at start. */
@Injectable()
export class CredentialResolvers {
  private readonly resolvers: CredentialResolver[] = [];

  register(resolver: CredentialResolver): void {
    this.resolvers.push(resolver);
  }

  /** @returns null when nobody stands behind the token. */
  async resolve(token: string): Promise<Actor | null> {
    const resolver = this.resolvers.find(({ prefix }) => token.startsWith(prefix));
    return resolver ? resolver.resolve(token) : null;
  }
}
