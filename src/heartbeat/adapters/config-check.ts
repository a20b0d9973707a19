import { InvalidInputError, type FieldProblem } from '../../errors/domain-error.js';

/** Collects everything that is wrong with an adapter's config, so that a user learns all of it at once. */
export class ConfigCheck {
  private readonly problems: FieldProblem[] = [];

  constructor(
    private readonly adapter: string,
    private readonly config: Record<string, unknown>,
    known: readonly string[],
  ) {
    for (const field of Object.keys(config)) {
      this.require(known.includes(field), field.slice(0, 100), `is not known to the adapter "${adapter}"`);
    }
  }

  /** Notes a problem unless `condition` holds; a field within the config is named from there. */
  require(condition: boolean, field: string, message: string): void {
    if (!condition) this.add([{ field: `adapterConfig.${field}`, message }]);
  }

  add(problems: FieldProblem[]): void {
    this.problems.push(...problems);
  }

  /** A non-empty string that a program or a path can be named with, if it is given. */
  text(field: string): void {
    const value = this.config[field];
    const fits = typeof value === 'string' && value.length > 0 && !value.includes('\0');
    this.require(value === undefined || fits, field, 'must be a string that is not empty and has no NUL character');
  }

  /** A whole number within bounds, if it is given. */
  integer(field: string, min: number, max: number): void {
    const value = this.config[field];
    const fits = Number.isInteger(value) && (value as number) >= min && (value as number) <= max;
    this.require(value === undefined || fits, field, `must be a whole number from ${min} to ${max}`);
  }

  /** @throws InvalidInputError naming each field that is wrong. */
  finish(): void {
    if (this.problems.length === 0) return;
    throw new InvalidInputError(`The adapterConfig does not fit the adapter "${this.adapter}"`, this.problems);
  }
}

/** A JSON object, as opposed to a list or null. */
export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
