import type { FieldProblem } from '../errors/domain-error.js';
import { isReference } from '../secrets/secret-reference.js';

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** All names and values together: the operating system refuses to start a program with much more. */
const MAX_BYTES = 64 * 1024;

/**
 * What is wrong with variables that a child process shall be given: each a string, `{ type: 'plain', value }` as some
 * clients send, or a reference to a secret. `field` is the place of the object in the body.
 */
export function envVarProblems(field: string, variables: Record<string, unknown>): FieldProblem[] {
  const problems = Object.entries(variables).flatMap(([name, given]) => {
    if (!NAME.test(name)) {
      const message = 'must be named with letters, digits and underscores, and not begin with a digit';
      return [{ field: `${field}.${name.slice(0, 100)}`, message }];
    }
    // What it names is looked up where it is saved.
    if (isReference(given)) return [];
    const value = plainValue(given);
    if (typeof value !== 'string') return [{ field: `${field}.${name}`, message: 'must be a string' }];
    if (value.includes('\0')) return [{ field: `${field}.${name}`, message: 'must not contain a NUL character' }];
    return [];
  });
  if (Buffer.byteLength(JSON.stringify(variables)) > MAX_BYTES) {
    problems.push({ field, message: `must not take more than ${MAX_BYTES / 1024} KiB together` });
  }
  return problems;
}

/** The variables themselves, where values have taken the place of references. */
export function variablesOf(given: Record<string, unknown>): Record<string, string> {
  const plain = Object.entries(given).map(([name, value]) => [name, plainValue(value)] as const);
  return Object.fromEntries(plain.filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}

function plainValue(value: unknown): unknown {
  const isPlain = typeof value === 'object' && value !== null && 'type' in value && value.type === 'plain';
  return isPlain && 'value' in value ? value.value : value;
}
