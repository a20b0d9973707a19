import { join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { BerthConfig } from '../config/config.js';
import { KeyFile } from './key-file.js';
import { MasterKey } from './master-key.js';
import { SecretsKeyMismatchError } from './secret-errors.js';

/** The keys that this process has, the newest first. They are read when they are first needed. */
@Injectable()
export class Keyring {
  private readonly file: KeyFile | null;
  private keys: MasterKey[] | null = null;

  constructor({ secretsKeys, secretsKeyFile, home }: BerthConfig) {
    this.file = secretsKeys ? null : new KeyFile(secretsKeyFile ?? join(home, 'secrets.key'), secretsKeyFile === null);
    if (secretsKeys) this.keys = secretsKeys.map((key) => new MasterKey(key));
  }

  /**
   * The key of this id. A file is read again where it is not known: another key may have been put into it.
   * @throws SecretsKeyMismatchError, SecretsKeyUnusableError
   */
  require(id: string): MasterKey {
    const found = this.find(id) ?? (this.reread(), this.find(id));
    if (found) return found;
    throw new SecretsKeyMismatchError(
      id,
      this.all().map((key) => key.id),
    );
  }

  /**
   * The newest key; for a database that has no secret yet it is made where there is none.
   * @throws SecretsKeyUnusableError
   */
  newest(): MasterKey {
    if (this.all().length === 0) this.take(this.file!.make());
    return this.all()[0];
  }

  /**
   * A newer key than this one: the newest that there is, or one that is made in the file.
   * @returns null where the keys are a setting, and its first one is this.
   */
  newerThan(id: string): MasterKey | null {
    if (this.newest().id !== id) return this.newest();
    if (!this.file) return null;
    this.take(this.file.add());
    return this.newest();
  }

  private find(id: string): MasterKey | undefined {
    return this.all().find((key) => key.id === id);
  }

  private all(): MasterKey[] {
    if (!this.keys) this.reread();
    return this.keys ?? [];
  }

  private reread(): void {
    if (this.file) this.take(this.file.read());
  }

  private take(keys: Buffer[]): void {
    this.keys = keys.map((key) => new MasterKey(key));
  }
}
