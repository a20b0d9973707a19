import { DomainEvent, RegisterEvent } from '../events/domain-event.js';

/** What a client says about an entry of its own. */
export interface CustomEntry {
  /** Begins with `custom.`. */
  readonly action: string;
  readonly subject: { readonly type: string; readonly id: string };
  readonly agentId: string | null;
  readonly runId: string | null;
  readonly details: Record<string, unknown>;
}

/** A client added an entry to the record, under an action of its own choice. */
@RegisterEvent
export class CustomActivityAdded extends DomainEvent {
  static override readonly wireName = 'activity.added';
  static override readonly action = 'custom.*';

  readonly subject: { readonly type: string; readonly id: string };
  override readonly agentId: string | null;
  override readonly runId: string | null;

  constructor(
    readonly companyId: string,
    readonly entry: CustomEntry,
  ) {
    super();
    this.subject = entry.subject;
    this.agentId = entry.agentId;
    this.runId = entry.runId;
  }

  override details(): Record<string, unknown> {
    return this.entry.details;
  }
}
