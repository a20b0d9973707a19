import { DomainEvent, RegisterEvent } from '../../events/domain-event.js';
import type { PlaceState } from './environment-place.entity.js';

/** What every fact about a place says. */
export interface PlaceFacts {
  readonly id: string;
  readonly companyId: string;
  readonly environmentId: string;
  readonly leaseId: string;
  readonly driver: string;
  readonly host: string | null;
  /** The state that it is in now. */
  readonly state: PlaceState;
  /** Why, or until when, where that needs saying. */
  readonly more?: Record<string, unknown>;
}

abstract class PlaceEvent extends DomainEvent {
  readonly companyId: string;
  readonly subject: { type: string; id: string };

  constructor(private readonly place: PlaceFacts) {
    super();
    this.companyId = place.companyId;
    this.subject = { type: 'environment_place', id: place.id };
  }

  override details(): Record<string, unknown> {
    const { environmentId, leaseId, driver, host, state, more } = this.place;
    return { environmentId, leaseId, driver, host, state, ...more };
  }
}

/** A lease was acquired that needs a place, and the driver may begin to make it. */
@RegisterEvent
export class PlaceRealising extends PlaceEvent {
  static override readonly wireName = 'place.realising';
  static override readonly action = 'environment.place_realising';
}

/** The driver made it. */
@RegisterEvent
export class PlaceReady extends PlaceEvent {
  static override readonly wireName = 'place.ready';
  static override readonly action = 'environment.place_ready';
}

/** Its holder has finished, and it waits for the next one. */
@RegisterEvent
export class PlaceKeptWarm extends PlaceEvent {
  static override readonly wireName = 'place.kept_warm';
  static override readonly action = 'environment.place_kept_warm';
}

/** Its holder has failed, and it is kept to be looked at. */
@RegisterEvent
export class PlaceRetained extends PlaceEvent {
  static override readonly wireName = 'place.retained';
  static override readonly action = 'environment.place_retained';
}

/** Its next holder has it. */
@RegisterEvent
export class PlaceTakenOver extends PlaceEvent {
  static override readonly wireName = 'place.taken_over';
  static override readonly action = 'environment.place_taken_over';
}

/** It is to be taken down. */
@RegisterEvent
export class PlaceCleaning extends PlaceEvent {
  static override readonly wireName = 'place.cleaning';
  static override readonly action = 'environment.place_cleaning';
}

/** Taking it down did not work; it is tried again. */
@RegisterEvent
export class PlaceCleanUpFailed extends PlaceEvent {
  static override readonly wireName = 'place.clean_up_failed';
  static override readonly action = 'environment.place_clean_up_failed';
}

/** Taking it down failed too often: it is left as it is until an operator looks. */
@RegisterEvent
export class PlaceParked extends PlaceEvent {
  static override readonly wireName = 'place.parked';
  static override readonly action = 'environment.place_parked';
}

/** An operator changed how long it is kept, or had its clean-up tried again. */
@RegisterEvent
export class PlaceChanged extends PlaceEvent {
  static override readonly wireName = 'place.changed';
  static override readonly action = 'environment.place_changed';
}

/** It has been taken down; what it held is free. */
@RegisterEvent
export class PlaceGone extends PlaceEvent {
  static override readonly wireName = 'place.gone';
  static override readonly action = 'environment.place_gone';
}

/** An operator said that it is gone, with its host, and nobody could look. */
@RegisterEvent
export class PlaceForgotten extends PlaceEvent {
  static override readonly wireName = 'place.forgotten';
  static override readonly action = 'environment.place_forgotten';
}
