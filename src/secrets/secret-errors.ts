import { DomainError, type FieldProblem } from '../errors/domain-error.js';

/** Secrets of a company are told apart by their names. */
export class SecretNameTakenError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'secret_name_taken';

  constructor(name: string) {
    super(`This company already has a secret called "${name}"`, { name });
  }
}

/** Whose config names a secret, and where in it. */
export interface SecretUse {
  readonly targetType: 'agent' | 'environment';
  readonly targetId: string;
  readonly name: string;
  /** For example `adapterConfig.env.TOKEN`. */
  readonly configPath: string;
}

/** Nothing is taken away from those whose configs name it. */
export class SecretInUseError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'secret_in_use';

  constructor(uses: readonly SecretUse[]) {
    const holders = [...new Set(uses.map(({ targetType, name }) => `the ${targetType} "${name}"`))].join(', ');
    super(`This secret is used by ${holders}: change what names it there, then delete it`, { uses });
  }
}

/** A config names a secret that its company does not have. */
export class SecretNotFoundError extends DomainError {
  readonly kind = 'unacceptable';
  readonly code = 'secret_not_found';

  constructor(problems: readonly FieldProblem[]) {
    const [{ field, message }] = problems;
    super(`${field} ${message}`, problems);
  }
}

/** What a run's config names cannot be had any more. */
export class SecretUnresolvableError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'secret_unresolvable';

  constructor(path: string, secretId: string, version: number | null) {
    const which = version === null ? secretId : `${secretId} in version ${version}`;
    super(`${path} names the secret ${which}, and there is none: give it another one`, { path, secretId, version });
  }
}

/** This process has a key, and the database's secrets are encrypted with another one. */
export class SecretsKeyMismatchError extends DomainError {
  readonly kind = 'unavailable';
  readonly code = 'secrets_key_mismatch';

  constructor(needed: string, had: readonly string[]) {
    const own = had.length === 0 ? 'this server has none' : `this server has the key ${had.join(', ')}`;
    super(`The secrets in this database are encrypted with the key ${needed}, and ${own}: see docs/secrets.md`);
  }
}

/** The key cannot be read, or others could read it. */
export class SecretsKeyUnusableError extends DomainError {
  readonly kind = 'unavailable';
  readonly code = 'secrets_key_unusable';
}

/** The key is the right one, and what is stored is not what was stored there under it. */
export class SecretCorruptError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'secret_corrupt';

  constructor(secretId: string, version: number) {
    super(`Version ${version} of the secret ${secretId} was changed in the database, or moved there: rotate it`);
  }
}
