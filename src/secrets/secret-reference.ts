import { validate } from 'uuid';
import type { FieldProblem } from '../errors/domain-error.js';

/** A secret that a config names, and where. */
export interface SecretReference {
  /** For example `adapterConfig.env.TOKEN`. */
  readonly path: string;
  /** Id or name. */
  readonly secret: string;
  /** Null for whichever is the latest. */
  readonly version: number | null;
}

const FORM = 'must read {"secretRef": "<id or name>"} or {"type": "secret_ref", "secretId": "<id>"}';
const OF_A_USER = 'names a secret of a user, and there are secrets of companies only';

type Named = Record<string, unknown>;

const isObject = (value: unknown): value is Named =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Whether this stands for a secret's value, rightly or not. */
export const isReference = (value: unknown): value is Named =>
  isObject(value) && ('secretRef' in value || value.type === 'secret_ref' || value.type === 'user_secret_ref');

/** What a reference says, or what is wrong with it. */
export function readReference(value: Named): Omit<SecretReference, 'path'> | string {
  if (value.type === 'user_secret_ref') return OF_A_USER;
  const secret = 'secretRef' in value ? value.secretRef : value.secretId;
  if (typeof secret !== 'string' || secret === '') return FORM;
  if (!('secretRef' in value) && !validate(secret)) return FORM;
  const version = value.version ?? 'latest';
  if (version === 'latest') return { secret, version: null };
  const fits = Number.isInteger(version) && (version as number) > 0;
  return fits ? { secret, version: version as number } : 'has to name "latest" or the number of a version';
}

/** Every reference in a config, and what is wrong with those that cannot be read. */
export function referencesIn(config: unknown, path: string): { found: SecretReference[]; problems: FieldProblem[] } {
  const found: SecretReference[] = [];
  const problems: FieldProblem[] = [];
  replaceReferences(config, path, (value, at) => {
    const read = readReference(value);
    if (typeof read === 'string') problems.push({ field: at, message: read });
    else found.push({ path: at, ...read });
    return value;
  });
  return { found, problems };
}

/** A copy of a config with something else in the place of each reference. */
export function replaceReferences(
  config: unknown,
  path: string,
  replace: (reference: Named, path: string) => unknown,
): unknown {
  if (isReference(config)) return replace(config, path);
  if (Array.isArray(config)) return config.map((item, index) => replaceReferences(item, `${path}.${index}`, replace));
  if (!isObject(config)) return config;
  return Object.fromEntries(
    Object.entries(config).map(([name, value]) => [
      name,
      replaceReferences(value, path === '' ? name : `${path}.${name}`, replace),
    ]),
  );
}
