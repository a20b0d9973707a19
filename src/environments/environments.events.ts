import { DomainEvent, RegisterEvent } from '../events/domain-event.js';

abstract class EnvironmentEvent extends DomainEvent {
  readonly subject: { type: string; id: string };

  constructor(
    readonly companyId: string,
    environmentId: string,
    private readonly facts: Record<string, unknown> = {},
  ) {
    super();
    this.subject = { type: 'environment', id: environmentId };
  }

  override details(): Record<string, unknown> {
    return { ...this.facts };
  }
}

/** `facts`: name, driver. */
@RegisterEvent
export class EnvironmentCreated extends EnvironmentEvent {
  static override readonly wireName = 'environment.created';
  static override readonly action = 'environment.created';
}

/** `facts`: the names of the fields that changed, never their values: variables may be secret. */
@RegisterEvent
export class EnvironmentUpdated extends EnvironmentEvent {
  static override readonly wireName = 'environment.updated';
  static override readonly action = 'environment.updated';
}

/** How a drain ends what is held: why, and how long it may still go on, in seconds. */
export interface DrainGrace {
  readonly graceSec: number;
  readonly reason: string;
}

/** It takes no new leases. Those that it has end by themselves, or with a grace when that is over. */
@RegisterEvent
export class EnvironmentDraining extends EnvironmentEvent {
  static override readonly wireName = 'environment.draining';
  static override readonly action = 'environment.draining';

  constructor(
    companyId: string,
    environmentId: string,
    readonly grace: DrainGrace | null,
  ) {
    super(companyId, environmentId, { ...grace });
  }
}

@RegisterEvent
export class EnvironmentActivated extends EnvironmentEvent {
  static override readonly wireName = 'environment.activated';
  static override readonly action = 'environment.activated';
}

@RegisterEvent
export class EnvironmentArchived extends EnvironmentEvent {
  static override readonly wireName = 'environment.archived';
  static override readonly action = 'environment.archived';
}

@RegisterEvent
export class EnvironmentDeleted extends EnvironmentEvent {
  static override readonly wireName = 'environment.deleted';
  static override readonly action = 'environment.deleted';
}

/** `facts`: whether the place could be used, and the driver's sentence about it. */
@RegisterEvent
export class EnvironmentProbed extends EnvironmentEvent {
  static override readonly wireName = 'environment.probed';
  static override readonly action = 'environment.probed';
}
