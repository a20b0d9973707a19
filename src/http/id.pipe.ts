import { Injectable, type PipeTransform } from '@nestjs/common';
import { validate } from 'uuid';
import { NotFoundError } from '../errors/domain-error.js';

/**
 * Lets a uuid of a path through, in lower case. What is no uuid names nothing, so it is answered like an unknown id
 * instead of reaching PostgreSQL, which would refuse it with an error of its own.
 */
@Injectable()
export class IdPipe implements PipeTransform<string, string> {
  transform(value: string): string {
    if (!validate(value)) throw new NotFoundError(`'${value.slice(0, 80)}'`);
    return value.toLowerCase();
  }
}
