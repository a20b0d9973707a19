import { Injectable } from '@nestjs/common';
import { Redactor } from '../../redaction/redactor.js';
import { RedactorsInUse } from '../../redaction/redactors-in-use.js';
import type { ClaimedRun } from '../runs/claimed-run.js';

type Known = Pick<ClaimedRun, 'id' | 'token'>;

/** What must not be shown of the runs that this process executes: their secrets' values, and their own tokens. */
@Injectable()
export class RunRedactors {
  private readonly byRun = new Map<string, Redactor>();

  constructor(private readonly inUse: RedactorsInUse) {}

  /** From now on these values are taken out of what the run writes, and of this process's log. */
  know({ id, token }: Known, values: readonly string[]): void {
    this.forget(id);
    const redactor = new Redactor([token, ...values]);
    this.byRun.set(id, redactor);
    this.inUse.add(redactor);
  }

  of({ id, token }: Known): Redactor {
    return this.byRun.get(id) ?? new Redactor([token]);
  }

  /** Of a run that is executed here; null for any other. */
  find(runId: string): Redactor | null {
    return this.byRun.get(runId) ?? null;
  }

  /** Its end is recorded. */
  forget(runId: string): void {
    const redactor = this.byRun.get(runId);
    if (!redactor) return;
    this.byRun.delete(runId);
    this.inUse.remove(redactor);
  }
}
