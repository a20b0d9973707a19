import { envVarProblems } from '../../environments/env-vars.js';
import type { FieldProblem } from '../../errors/domain-error.js';
import { isObject } from './config-check.js';

const NO_SECRETS = 'names a secret, and this server keeps none: give the value itself';

/** What is wrong with `adapterConfig.env`: an object of strings, or of `{ type: 'plain', value }` as some clients send. */
export function agentVariableProblems(env: unknown): FieldProblem[] {
  const field = 'adapterConfig.env';
  if (env === undefined) return [];
  if (!isObject(env)) return [{ field, message: 'must be an object of strings' }];
  const references = Object.entries(env).filter(([, value]) => isReference(value));
  const problems = references.map(([name]) => ({ field: `${field}.${name}`, message: NO_SECRETS }));
  const plain = Object.entries(env).filter(([, value]) => !isReference(value));
  return [
    ...problems,
    ...envVarProblems(field, Object.fromEntries(plain.map(([name, value]) => [name, plainValue(value)]))),
  ];
}

/** The variables that an agent's own config gives to its process. */
export function agentVariables(adapterConfig: Record<string, unknown>): Record<string, string> {
  if (!isObject(adapterConfig.env)) return {};
  const variables: Record<string, string> = {};
  for (const [name, value] of Object.entries(adapterConfig.env)) {
    const plain = plainValue(value);
    if (typeof plain === 'string') variables[name] = plain;
  }
  return variables;
}

const isReference = (value: unknown) =>
  isObject(value) && ('secretRef' in value || value.type === 'secret_ref' || value.type === 'user_secret_ref');

const plainValue = (value: unknown) => (isObject(value) && value.type === 'plain' ? value.value : value);
