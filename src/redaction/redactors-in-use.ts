import { Injectable } from '@nestjs/common';
import type { Redactor } from './redactor.js';

/** Which values this process knows now, so that its own log shows none of them. */
@Injectable()
export class RedactorsInUse {
  private readonly redactors = new Set<Redactor>();

  add(redactor: Redactor): void {
    this.redactors.add(redactor);
  }

  remove(redactor: Redactor): void {
    this.redactors.delete(redactor);
  }

  text(text: string): string {
    let redacted = text;
    for (const redactor of this.redactors) redacted = redactor.text(redacted);
    return redacted;
  }
}
