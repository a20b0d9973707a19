import { hostname } from 'node:os';
import { Injectable } from '@nestjs/common';
import { newId } from '../../database/id.js';

/** Who this process is to the record: a new id at every start, and the host that it runs on. */
@Injectable()
export class RunnerIdentity {
  readonly id = newId();
  readonly host = hostname();
}
