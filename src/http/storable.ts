import { InvalidInputError } from '../errors/domain-error.js';

const MAX_DEPTH = 64;
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * Refuses what PostgreSQL cannot keep, before it gets there: text with NUL bytes or halves of surrogate pairs, and
 * values nested so deep that walking them would overflow the stack.
 * @throws InvalidInputError
 */
export function assertStorable(value: unknown, path: readonly string[] = []): void {
  if (typeof value === 'string') assertText(value, path);
  if (typeof value !== 'object' || value === null) return;
  if (path.length >= MAX_DEPTH) throw refusal(path.slice(0, 1), `must not be nested deeper than ${MAX_DEPTH} levels`);
  for (const [key, nested] of Object.entries(value)) {
    assertText(key, path);
    assertStorable(nested, [...path, key]);
  }
}

function assertText(text: string, path: readonly string[]): void {
  if (text.includes('\0')) throw refusal(path, 'must not contain NUL bytes');
  if (LONE_SURROGATE.test(text)) throw refusal(path, 'must be well-formed Unicode');
}

function refusal(path: readonly string[], message: string): InvalidInputError {
  const field = path.join('.');
  return new InvalidInputError(`Invalid input: ${field || 'the input'} ${message}`, [{ field, message }]);
}
