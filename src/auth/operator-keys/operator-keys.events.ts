import { DomainEvent, RegisterEvent } from '../../events/domain-event.js';

/** Told to each company that a key is for; one for the whole instance is recorded by its own row alone. */
abstract class OperatorKeyEvent extends DomainEvent {
  readonly subject: { type: string; id: string };

  constructor(
    readonly companyId: string,
    keyId: string,
    private readonly facts: { name: string; readOnly: boolean },
  ) {
    super();
    this.subject = { type: 'operator_key', id: keyId };
  }

  override details(): Record<string, unknown> {
    return { ...this.facts };
  }
}

@RegisterEvent
export class OperatorKeyCreated extends OperatorKeyEvent {
  static override readonly wireName = 'operator_key.created';
  static override readonly action = 'operator_key.created';
}

@RegisterEvent
export class OperatorKeyRevoked extends OperatorKeyEvent {
  static override readonly wireName = 'operator_key.revoked';
  static override readonly action = 'operator_key.revoked';
}
