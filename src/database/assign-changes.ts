import { isDeepStrictEqual } from 'node:util';

/**
 * Writes the fields of `changes` that are defined into `entity`.
 * @returns the names of those whose value is different now, so that a change that changes nothing is not recorded.
 */
export function assignChanges<E extends C, C extends object>(entity: E, changes: C): (keyof C & string)[] {
  const fields = Object.keys(changes) as (keyof C & string)[];
  const different = fields.filter((field) => {
    const value = changes[field];
    return value !== undefined && !isDeepStrictEqual(entity[field] ?? null, value);
  });
  for (const field of different) (entity as C)[field] = changes[field];
  return different;
}
