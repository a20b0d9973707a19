import { DomainEvent, RegisterEvent } from '../events/domain-event.js';

abstract class SecretEvent extends DomainEvent {
  readonly subject: { type: string; id: string };

  constructor(
    readonly companyId: string,
    secretId: string,
    private readonly facts: Record<string, unknown>,
  ) {
    super();
    this.subject = { type: 'secret', id: secretId };
  }

  override details(): Record<string, unknown> {
    return { ...this.facts };
  }
}

/** `facts`: its name. */
@RegisterEvent
export class SecretCreated extends SecretEvent {
  static override readonly wireName = 'secret.created';
  static override readonly action = 'secret.created';
}

/** `facts`: its name, and the names of the fields that changed. */
@RegisterEvent
export class SecretUpdated extends SecretEvent {
  static override readonly wireName = 'secret.updated';
  static override readonly action = 'secret.updated';
}

/** It has a new value. `facts`: its name and the number of the version. */
@RegisterEvent
export class SecretRotated extends SecretEvent {
  static override readonly wireName = 'secret.rotated';
  static override readonly action = 'secret.rotated';
}

/** It is gone with all of its values. `facts`: its name. */
@RegisterEvent
export class SecretDeleted extends SecretEvent {
  static override readonly wireName = 'secret.deleted';
  static override readonly action = 'secret.deleted';
}
