import { DomainEvent, RegisterEvent } from '../events/domain-event.js';
import type { RetentionKind } from './retention-kind.js';

/** How many rows went, by what they were. */
export type RemovedRows = Readonly<Record<string, number>>;

/** Rows of a company were removed because they had been kept for long enough. */
@RegisterEvent
export class RetentionRemoved extends DomainEvent {
  static override readonly wireName = 'retention.removed';
  static override readonly action = 'retention.removed';

  readonly subject: { type: string; id: string };

  /** @param before what they ended before. */
  constructor(
    readonly companyId: string,
    private readonly kind: RetentionKind,
    private readonly before: Date,
    readonly removed: RemovedRows,
  ) {
    super();
    this.subject = { type: 'company', id: companyId };
  }

  override details(): Record<string, unknown> {
    return { kind: this.kind, before: this.before.toISOString(), removed: this.removed };
  }
}
