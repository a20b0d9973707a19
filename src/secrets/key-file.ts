import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { keysIn } from '../config/key-list.js';
import { newId } from '../database/id.js';
import { SecretsKeyUnusableError } from './secret-errors.js';

/** Rights of anybody but the owner. */
const OTHERS = 0o077;

/** A file of keys, one a line, the newest first. */
export class KeyFile {
  constructor(
    private readonly path: string,
    /** Whether it may be made here; one that an operator names has to be there. */
    private readonly isOurs: boolean,
  ) {}

  /**
   * @returns none where there is no file yet.
   * @throws SecretsKeyUnusableError
   */
  read(): Buffer[] {
    const mode = this.modeOf();
    if (mode === null) return [];
    // Windows has no such rights, and says 0o666 of every file.
    if (process.platform !== 'win32' && mode & OTHERS) {
      throw new SecretsKeyUnusableError(
        `The file with the key for secrets (${this.path}) can be read by others: chmod 600 it`,
      );
    }
    const keys = keysIn(this.content());
    if (keys) return keys;
    throw new SecretsKeyUnusableError(
      `The file with the key for secrets (${this.path}) has to hold 32 bytes in hexadecimal or base64 in each line`,
    );
  }

  /**
   * Makes the file with a first key. Processes that do so at once agree on whoever was first.
   * @throws SecretsKeyUnusableError
   */
  make(): Buffer[] {
    if (!this.isOurs) throw this.missing();
    const whole = this.written([]);
    try {
      linkSync(whole, this.path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw this.unreadable(error);
    } finally {
      rmSync(whole, { force: true });
    }
    return this.read();
  }

  /** Puts a new key before the others. */
  add(): Buffer[] {
    renameSync(this.written(this.read()), this.path);
    return this.read();
  }

  /** A new key and the others, complete in a file beside: nobody ever reads a half of one. */
  private written(others: readonly Buffer[]): string {
    const lines = [randomBytes(32), ...others].map((key) => `${key.toString('base64')}\n`);
    const whole = `${this.path}.${newId()}`;
    try {
      mkdirSync(dirname(this.path), { recursive: true });
      writeFileSync(whole, lines.join(''), { mode: 0o600, flag: 'wx' });
      return whole;
    } catch (error) {
      throw this.unreadable(error);
    }
  }

  private modeOf(): number | null {
    try {
      return statSync(this.path).mode;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw this.unreadable(error);
      if (this.isOurs) return null;
      throw this.missing();
    }
  }

  private content(): string {
    try {
      return readFileSync(this.path, 'utf8');
    } catch (error) {
      throw this.unreadable(error);
    }
  }

  private missing(): SecretsKeyUnusableError {
    return new SecretsKeyUnusableError(`There is no file ${this.path}, which BERTH_SECRETS_KEY_FILE names`);
  }

  private unreadable(error: unknown): SecretsKeyUnusableError {
    const { code } = error as NodeJS.ErrnoException;
    return new SecretsKeyUnusableError(`The file with the key for secrets (${this.path}) cannot be used (${code})`);
  }
}
