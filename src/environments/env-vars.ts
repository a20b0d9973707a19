import type { FieldProblem } from '../errors/domain-error.js';

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** All names and values together: the operating system refuses to start a program with much more. */
const MAX_BYTES = 64 * 1024;

/** What is wrong with variables that a child process shall be given; `field` is the place of the object in the body. */
export function envVarProblems(field: string, variables: Record<string, unknown>): FieldProblem[] {
  const problems = Object.entries(variables).flatMap(([name, value]) => {
    if (!NAME.test(name)) {
      const message = 'must be named with letters, digits and underscores, and not begin with a digit';
      return [{ field: `${field}.${name.slice(0, 100)}`, message }];
    }
    if (typeof value !== 'string') return [{ field: `${field}.${name}`, message: 'must be a string' }];
    if (value.includes('\0')) return [{ field: `${field}.${name}`, message: 'must not contain a NUL character' }];
    return [];
  });
  if (Buffer.byteLength(JSON.stringify(variables)) > MAX_BYTES) {
    problems.push({ field, message: `must not take more than ${MAX_BYTES / 1024} KiB together` });
  }
  return problems;
}
