import { DomainError } from '../../errors/domain-error.js';
import type { PlaceState } from './environment-place.entity.js';

/** The place is in a state in which this cannot be done with it. */
export class PlaceStateError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'place_state';

  constructor(wanted: string, { state, leaseId }: { state: PlaceState; leaseId: string }) {
    super(`${wanted}; this one ${STATES[state]}`, { state, leaseId });
  }
}

const STATES: Record<PlaceState, string> = {
  realising: 'is being made for a lease that is active: end that first',
  in_use: 'is in use by a lease that is active: end that first',
  warm: 'waits for its next holder',
  retained: 'is retained',
  cleaning: 'is being taken down',
  gone: 'is gone',
};

/** Any host can take the place down, so there is none whose loss would excuse it. */
export class PlaceNotHostBoundError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'place_not_host_bound';

  constructor() {
    super('Only a place that is bound to a host can be forgotten; this one can be taken down from any');
  }
}
