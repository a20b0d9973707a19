import { randomBytes, webcrypto } from 'node:crypto';
import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { jwtVerify } from 'jose/jwt/verify';
import { SignJWT } from 'jose/jwt/sign';
import { hashOf } from './token-hash.js';

/** What a run's token is bound to. */
export interface RunBinding {
  readonly runId: string;
  readonly agentId: string;
  readonly companyId: string;
}

/** How every run's token begins. */
export const RUN_TOKEN_PREFIX = 'berth_run_';

const ALGORITHM = 'HS256';
const HMAC = { name: 'HMAC', hash: 'SHA-256' };
const ISSUER = 'berth';
const NONCE_BYTES = 32;

/**
 * Makes and reads the tokens of runs: signed with a key that all processes of an instance share through its database. A
 * signature alone is worth nothing: a token counts as long as its run's row is running and has its hash.
 */
@Injectable()
export class RunTokens implements OnModuleInit {
  private key: webcrypto.CryptoKey;

  constructor(private readonly em: EntityManager) {}

  async onModuleInit(): Promise<void> {
    const [{ key }] = await this.em.fork().execute<[{ key: Buffer }]>('select run_token_key as key from instance');
    this.key = await webcrypto.subtle.importKey('raw', key, HMAC, false, ['sign', 'verify']);
  }

  /** @returns the token, to be shown to the run alone, and its hash, to be kept. */
  async mint({ runId, agentId, companyId }: RunBinding): Promise<{ token: string; hash: Buffer }> {
    const signed = await new SignJWT({ run: runId, company: companyId })
      .setProtectedHeader({ alg: ALGORITHM })
      .setIssuer(ISSUER)
      .setSubject(agentId)
      // Whoever has got hold of the signing key still cannot make a token that has been given out.
      .setJti(randomBytes(NONCE_BYTES).toString('base64url'))
      .setIssuedAt()
      .sign(this.key);
    const token = `${RUN_TOKEN_PREFIX}${signed}`;
    return { token, hash: hashOf(token) };
  }

  /** @returns null for what was not signed here. */
  async read(token: string): Promise<(RunBinding & { hash: Buffer }) | null> {
    if (!token.startsWith(RUN_TOKEN_PREFIX)) return null;
    const signed = token.slice(RUN_TOKEN_PREFIX.length);
    const options = { algorithms: [ALGORITHM], issuer: ISSUER };
    const verified = await jwtVerify<{ run: string; company: string }>(signed, this.key, options).catch(() => null);
    if (!verified?.payload.sub) return null;
    const { sub: agentId, run: runId, company: companyId } = verified.payload;
    return { runId, agentId, companyId, hash: hashOf(token) };
  }
}
