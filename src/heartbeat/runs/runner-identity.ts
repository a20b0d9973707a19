import { Injectable } from '@nestjs/common';
import { newId } from '../../database/id.js';
import { ThisHost } from '../../environments/this-host.js';

/** Who this process is to the record: a new id at every start, and the host that it runs on. */
@Injectable()
export class RunnerIdentity {
  readonly id = newId();
  /** The host's id, which no other host has. */
  readonly host: string;
  readonly hostName: string;

  constructor({ id, name }: ThisHost) {
    this.host = id;
    this.hostName = name;
  }
}

/** A runner as sentences for people name it: by what finds it in the list of runners, and the machine. */
export const runnerName = (id: string | null, host: string | null) => `runner ${id} on ${host}`;
