import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { BerthConfig } from '../config/config.js';

/**
 * Which host this process is on. The id is made once and kept in the home of Berth: a name can change, and other machines
 * can have the same. What is bound to a host (a local directory) can be used and taken down only there.
 */
@Injectable()
export class ThisHost {
  readonly id: string;
  readonly name = hostname();

  constructor({ home }: BerthConfig) {
    this.id = hostIdIn(home, this.name);
  }
}

/** Processes that start at once on one home agree on whoever wrote first. */
function hostIdIn(home: string, name: string): string {
  const file = join(home, 'host-id');
  mkdirSync(home, { recursive: true });
  try {
    writeFileSync(file, `${name}-${randomBytes(4).toString('hex')}\n`, { flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return readFileSync(file, 'utf8').trim();
}
