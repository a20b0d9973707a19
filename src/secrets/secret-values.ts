import { createHmac } from 'node:crypto';
import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { Keyring } from './keyring.js';
import type { MasterKey } from './master-key.js';
import { open, seal, type ValuePlace } from './secret-cipher.js';

/** A version of a secret, as it is stored. */
export interface StoredVersion {
  company_id: string;
  secret_id: string;
  version: number;
  key_id: string;
  nonce: Buffer;
  ciphertext: Buffer;
}

/** The columns of `StoredVersion`, of `secret_versions v`. */
export const VERSION_COLUMNS = 'v.company_id, v.secret_id, v.version, v.key_id, v.nonce, v.ciphertext';

/** Encrypts values on their way into the database, and decrypts what comes out of it. */
@Injectable()
export class SecretValues {
  constructor(
    private readonly em: EntityManager,
    private readonly keyring: Keyring,
  ) {}

  /**
   * Stores a version in the caller's transaction, under the key that is in use until that ends.
   * @throws SecretsKeyMismatchError, SecretsKeyUnusableError
   */
  async add(place: ValuePlace, value: string): Promise<void> {
    const { keyId, nonce, ciphertext } = seal(await this.keyInUse(), place, value);
    await this.em.execute(
      `insert into secret_versions (company_id, secret_id, version, key_id, nonce, ciphertext) values (?, ?, ?, ?, ?, ?)`,
      [place.companyId, place.secretId, place.version, keyId, nonce, ciphertext],
    );
  }

  /** Removes every version of a secret. */
  async forget(secretId: string): Promise<void> {
    await this.em.execute('delete from secret_versions where secret_id = ?', [secretId]);
  }

  /** @throws SecretsKeyMismatchError, SecretsKeyUnusableError, SecretCorruptError */
  reveal({ company_id, secret_id, version, key_id, nonce, ciphertext }: StoredVersion): string {
    const place = { companyId: company_id, secretId: secret_id, version };
    return open(this.keyring.require(key_id), place, { keyId: key_id, nonce, ciphertext });
  }

  /**
   * Another hash in place of one by which a value could be guessed.
   * @throws SecretsKeyMismatchError, SecretsKeyUnusableError
   */
  async keyedHash(hash: Buffer): Promise<Buffer> {
    return createHmac('sha256', (await this.keyInUse()).hashKey)
      .update(hash)
      .digest();
  }

  /** The key that is in use; the first who asks decides which. Held against a change where a transaction is open. */
  private async keyInUse(): Promise<MasterKey> {
    const used = await this.keyIdInUse();
    if (used) return this.keyring.require(used);
    const key = this.keyring.newest();
    await this.em.execute('insert into secrets_key (key_id) values (?) on conflict do nothing', [key.id]);
    return this.keyring.require((await this.keyIdInUse())!);
  }

  private async keyIdInUse(): Promise<string | null> {
    const [row] = await this.em.execute<{ key_id: string }[]>('select key_id from secrets_key where id for share');
    return row?.key_id ?? null;
  }
}
