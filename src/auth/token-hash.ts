import { createHash, timingSafeEqual } from 'node:crypto';

/**
 * What is kept of a secret. A plain SHA-256 is enough: secrets are 256 random bits, or were given by an operator and are
 * long (see `BERTH_BOOTSTRAP_KEY`), so that nobody can guess one from its hash.
 */
export const hashOf = (secret: string): Buffer => createHash('sha256').update(secret).digest();

/** Compares hashes in constant time. */
export const sameHash = (shown: Buffer, kept: Buffer): boolean =>
  shown.length === kept.length && timingSafeEqual(shown, kept);
