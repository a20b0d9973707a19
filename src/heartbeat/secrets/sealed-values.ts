import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

const CIPHER = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Seals values for whoever has the token, which no database has: nonce, ciphertext, tag. */
export function sealValues(token: string, values: readonly string[]): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, keyOf(token), nonce, { authTagLength: TAG_BYTES });
  return Buffer.concat([nonce, cipher.update(JSON.stringify(values), 'utf8'), cipher.final(), cipher.getAuthTag()]);
}

/** @throws Error when it was not sealed for this token, or was changed. */
export function openValues(token: string, sealed: Buffer): string[] {
  const nonce = sealed.subarray(0, NONCE_BYTES);
  const decipher = createDecipheriv(CIPHER, keyOf(token), nonce, { authTagLength: TAG_BYTES });
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  const parts = [decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()];
  return JSON.parse(Buffer.concat(parts).toString('utf8')) as string[];
}

const keyOf = (token: string) => Buffer.from(hkdfSync('sha256', token, '', 'berth/runs/sealed-values', KEY_BYTES));
