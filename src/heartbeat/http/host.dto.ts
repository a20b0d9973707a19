import { IsString, Length } from 'class-validator';
import type { ForgottenHost } from '../runs/hosts.service.js';

export class ForgetHostDto {
  /**
   * Why it is certain that the host is gone, for the record.
   * @example 'The machine was taken out of the rack'
   */
  @IsString()
  @Length(1, 500)
  reason: string;
}

export class ForgottenHostResponse implements ForgottenHost {
  /** How many places were forgotten. */
  forgotten: number;
  /** How many there still are: more than one call forgets, or used by leases that have not run out yet. Repeat it then. */
  remaining: number;
}
