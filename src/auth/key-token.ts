import { randomBytes } from 'node:crypto';
import { validate } from 'uuid';
import { hashOf } from './token-hash.js';

/** Whom a key stands for, as long as it is not revoked. */
export type KeyKind = 'agent' | 'operator';

/** What a shown key says: where to look it up, and what to compare. */
interface ShownKey {
  /** Id of the row that keeps the hash. */
  readonly id: string;
  readonly hash: Buffer;
}

const SECRET_BYTES = 32;

/** How every key of a kind begins. */
export const keyPrefix = (kind: KeyKind): string => `berth_${kind}_`;

/** Makes a key for the row `id`. Only the hash is to be kept; the token is shown once. */
export function mintKey(kind: KeyKind, id: string): { token: string; hash: Buffer } {
  const secret = randomBytes(SECRET_BYTES).toString('base64url');
  return { token: `${keyPrefix(kind)}${id}_${secret}`, hash: hashOf(secret) };
}

/** @returns null when it is not a key of this kind. */
export function parseKey(kind: KeyKind, token: string): ShownKey | null {
  const prefix = keyPrefix(kind);
  const [id = '', secret] = token.startsWith(prefix) ? splitOnce(token.slice(prefix.length)) : [];
  return secret && validate(id) ? { id, hash: hashOf(secret) } : null;
}

/** The secret may itself hold underscores; the id does not. */
function splitOnce(text: string): string[] {
  const at = text.indexOf('_');
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}
