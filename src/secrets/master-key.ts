import { hkdfSync } from 'node:crypto';

/** A key of 256 bits, as it was given; what it is used for is derived from it. */
export class MasterKey {
  /** Tells keys apart, and says nothing about them. */
  readonly id: string;
  /** Encrypts values. */
  readonly cipherKey: Buffer;

  constructor(private readonly given: Buffer) {
    this.id = this.derived('berth/secrets/id', 8).toString('hex');
    this.cipherKey = this.derived('berth/secrets/aes-256-gcm', 32);
  }

  /** Hashes what somebody could guess values by, if it were hashed without a key. */
  get hashKey(): Buffer {
    return this.derived('berth/secrets/hmac', 32);
  }

  private derived(use: string, bytes: number): Buffer {
    return Buffer.from(hkdfSync('sha256', this.given, '', use, bytes));
  }
}
