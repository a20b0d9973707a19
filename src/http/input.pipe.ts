import { Injectable, ValidationPipe, type ArgumentMetadata } from '@nestjs/common';
import type { ValidationError } from 'class-validator';
import { InvalidInputError, type FieldProblem } from '../errors/domain-error.js';
import { withoutIgnoredFields } from './ignored-fields.js';
import { assertStorable } from './storable.js';

/** How many problems the sentence names; the details name all. */
const NAMED_IN_SENTENCE = 3;

/** Holds every input to its DTO: what it does not declare is refused, what it declares is converted and checked. */
@Injectable()
export class InputPipe extends ValidationPipe {
  constructor() {
    super({
      whitelist: true,
      forbidNonWhitelisted: true,
      transform: true,
      exceptionFactory: (errors) => invalid(errors.flatMap((error) => problemsOf(error))),
    });
  }

  /** @throws InvalidInputError with one entry per field */
  override async transform(value: unknown, metadata: ArgumentMetadata): Promise<unknown> {
    const { type, metatype } = metadata;
    if (type === 'param' || type === 'query') assertStorable(value, metadata.data ? [metadata.data] : []);
    if (metatype === undefined || !this.toValidate(metadata))
      return super.transform(value, metadata) as Promise<unknown>;
    if (type === 'body' && !isObject(value ?? {})) {
      throw invalid([{ field: '', message: 'the body must be a JSON object' }]);
    }
    return super.transform(withoutIgnoredFields(value, metatype), metadata) as Promise<unknown>;
  }
}

const isObject = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value);

function invalid(problems: FieldProblem[]): InvalidInputError {
  const named = problems.slice(0, NAMED_IN_SENTENCE).map(({ message }) => message);
  const more = problems.length > named.length ? `; and ${problems.length - named.length} more` : '';
  return new InvalidInputError(`Invalid input: ${named.join('; ')}${more}`, problems);
}

/** One entry per field that is wrong, nested ones by their path. */
function problemsOf(error: ValidationError, parent = ''): FieldProblem[] {
  const field = parent ? `${parent}.${error.property}` : error.property;
  const nested = (error.children ?? []).flatMap((child) => problemsOf(child, field));
  const { whitelistValidation, ...constraints } = error.constraints ?? {};
  const messages = whitelistValidation ? [`${field} is not a known field`] : Object.values(constraints);
  return messages.length > 0 ? [{ field, message: messages.join('; ') }, ...nested] : nested;
}
