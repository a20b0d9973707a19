import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { validate } from 'uuid';
import { SecretUnresolvableError } from './secret-errors.js';
import { referencesIn, replaceReferences, type SecretReference } from './secret-reference.js';
import { SecretValues, VERSION_COLUMNS, type StoredVersion } from './secret-values.js';

interface AskedVersion extends StoredVersion {
  asked: number | null;
}

/** Configs with what their references stand for. */
export interface Revealed<T> {
  readonly configs: T;
  /** The values that stand in them now. */
  readonly values: string[];
}

/** Puts values in the place of references: for whoever executes, and nobody else. */
@Injectable()
export class SecretResolver {
  constructor(
    private readonly em: EntityManager,
    private readonly values: SecretValues,
  ) {}

  /**
   * Resolves the references in a company's configs with one statement; without references there is none.
   * @throws SecretUnresolvableError, SecretsKeyMismatchError, SecretsKeyUnusableError, SecretCorruptError
   */
  async reveal<T extends object>(companyId: string, configs: T): Promise<Revealed<T>> {
    const { found } = referencesIn(configs, '');
    if (found.length === 0) return { configs, values: [] };
    const byReference = new Map<string, string>();
    for (const version of await this.asked(companyId, found)) {
      byReference.set(keyOf(version.secret_id, version.asked), this.values.reveal(version));
    }
    const byPath = new Map<string, string>();
    for (const { path, secret, version } of found) {
      const value = byReference.get(keyOf(secret, version));
      if (value === undefined) throw new SecretUnresolvableError(path, secret, version);
      byPath.set(path, value);
    }
    const revealed = replaceReferences(configs, '', (_reference, path) => byPath.get(path)) as T;
    return { configs: revealed, values: [...byReference.values()] };
  }

  private asked(companyId: string, references: readonly SecretReference[]): Promise<AskedVersion[]> {
    const asked = references
      .filter(({ secret }) => validate(secret))
      .map(({ secret, version }) => ({ secret, version }));
    return this.em.fork().execute<AskedVersion[]>(
      `select ${VERSION_COLUMNS}, x.version as asked
       from (select distinct secret, version from jsonb_to_recordset(?::jsonb) as x (secret uuid, version integer)) x
       join secrets s on s.company_id = ? and s.id = x.secret
       join secret_versions v on v.secret_id = s.id and v.version = coalesce(x.version, s.latest_version)`,
      [JSON.stringify(asked), companyId],
    );
  }
}

const keyOf = (secretId: string, version: number | null) => `${secretId.toLowerCase()} ${version ?? 'latest'}`;
