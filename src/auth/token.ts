import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { validate } from 'uuid';

/** What a token stands for: an agent for as long as its key lives, or one run of it. */
export type TokenKind = 'agent' | 'run';

/** What a shown token says: where to look it up, and what to compare. */
export interface ParsedToken {
  /** Id of the row that keeps the hash. */
  readonly id: string;
  readonly hash: Buffer;
}

const SECRET_BYTES = 32;

/** How every token of a kind begins. */
export const tokenPrefix = (kind: TokenKind): string => `berth_${kind}_`;

/**
 * Makes a token for the row `id`. Only the hash is to be kept; the token is shown once. A plain SHA-256 is enough: the
 * secret is 256 random bits, which nobody can guess from its hash.
 */
export function mintToken(kind: TokenKind, id: string): { token: string; hash: Buffer } {
  const secret = randomBytes(SECRET_BYTES).toString('base64url');
  return { token: `${tokenPrefix(kind)}${id}_${secret}`, hash: sha256(secret) };
}

/** @returns null when it is not a token of this kind. */
export function parseToken(kind: TokenKind, token: string): ParsedToken | null {
  const prefix = tokenPrefix(kind);
  const [id = '', secret] = token.startsWith(prefix) ? splitOnce(token.slice(prefix.length)) : [];
  return secret && validate(id) ? { id, hash: sha256(secret) } : null;
}

/** Compares hashes in constant time. */
export const sameHash = (shown: Buffer, kept: Buffer): boolean =>
  shown.length === kept.length && timingSafeEqual(shown, kept);

/** The secret may itself hold underscores; the id does not. */
function splitOnce(text: string): string[] {
  const at = text.indexOf('_');
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest();
