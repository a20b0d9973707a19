import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { keyOperator, type Caller } from '../../events/actor.js';
import { CredentialResolvers } from '../credential-resolvers.js';
import { isUseNoted, noteUse } from '../key-use.js';
import { keyPrefix, parseKey } from '../key-token.js';
import { hashOf, sameHash } from '../token-hash.js';

interface KeyRow {
  id: string;
  name: string;
  token_hash: Buffer;
  company_ids: string[] | null;
  read_only: boolean;
  use_is_noted: boolean;
}

/** Honours operators' keys, as long as they are neither revoked nor expired. */
@Injectable()
export class OperatorKeyResolver implements OnModuleInit {
  constructor(
    private readonly em: EntityManager,
    private readonly credentials: CredentialResolvers,
  ) {}

  onModuleInit(): void {
    this.credentials.register({ prefix: keyPrefix('operator'), resolve: (token) => this.resolveMade(token) });
    // What an operator gives as the first key begins as it likes.
    this.credentials.register({ prefix: '', resolve: (token) => this.resolveGiven(token) });
  }

  private async resolveMade(token: string): Promise<Caller | null> {
    const shown = parseKey('operator', token);
    return shown && this.callerOf(shown.hash, 'id = ?', [shown.id]);
  }

  private resolveGiven(token: string): Promise<Caller | null> {
    return this.callerOf(hashOf(token), 'given', []);
  }

  private async callerOf(hash: Buffer, which: string, parameters: string[]): Promise<Caller | null> {
    const [key] = await this.em.execute<KeyRow[]>(
      `select id, name, token_hash, company_ids, read_only, ${isUseNoted('operator')} as use_is_noted
         from operator_keys
        where ${which} and revoked_at is null and (expires_at is null or expires_at > clock_timestamp())`,
      parameters,
    );
    if (!key || !sameHash(hash, key.token_hash)) return null;
    const { id, name, company_ids: companyIds, read_only: readOnly } = key;
    if (!key.use_is_noted) noteUse(this.em, 'operator', id);
    return keyOperator({ id, name, companyIds, readOnly });
  }
}
