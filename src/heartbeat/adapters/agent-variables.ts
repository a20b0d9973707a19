import { envVarProblems, variablesOf } from '../../environments/env-vars.js';
import type { FieldProblem } from '../../errors/domain-error.js';
import { isObject } from './config-check.js';

/** What is wrong with `adapterConfig.env`. */
export function agentVariableProblems(env: unknown): FieldProblem[] {
  const field = 'adapterConfig.env';
  if (env === undefined) return [];
  return isObject(env) ? envVarProblems(field, env) : [{ field, message: 'must be an object of strings' }];
}

/** The variables that an agent's own config gives to its process. */
export const agentVariables = (adapterConfig: Record<string, unknown>): Record<string, string> =>
  isObject(adapterConfig.env) ? variablesOf(adapterConfig.env) : {};
