import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { MasterKey } from './master-key.js';
import { SecretCorruptError } from './secret-errors.js';

const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Whose value it is: a ciphertext means nothing in any other place. */
export interface ValuePlace {
  readonly companyId: string;
  readonly secretId: string;
  readonly version: number;
}

/** A value as it is stored. */
export interface SealedValue {
  readonly keyId: string;
  readonly nonce: Buffer;
  /** With the tag at its end. */
  readonly ciphertext: Buffer;
}

export function seal(key: MasterKey, place: ValuePlace, value: string): SealedValue {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, key.cipherKey, nonce, { authTagLength: TAG_BYTES }).setAAD(boundTo(place));
  const parts = [cipher.update(value, 'utf8'), cipher.final()];
  return { keyId: key.id, nonce, ciphertext: Buffer.concat([...parts, cipher.getAuthTag()]) };
}

/** @throws SecretCorruptError when it is not what was sealed for this place with this key. */
export function open(key: MasterKey, place: ValuePlace, { nonce, ciphertext }: SealedValue): string {
  try {
    const decipher = createDecipheriv(CIPHER, key.cipherKey, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(boundTo(place)).setAuthTag(ciphertext.subarray(-TAG_BYTES));
    const parts = [decipher.update(ciphertext.subarray(0, -TAG_BYTES)), decipher.final()];
    return Buffer.concat(parts).toString('utf8');
  } catch {
    throw new SecretCorruptError(place.secretId, place.version);
  }
}

const boundTo = ({ companyId, secretId, version }: ValuePlace) =>
  Buffer.from(`berth-secret-1:${companyId}:${secretId}:${version}`);
