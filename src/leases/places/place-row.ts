import type { PlaceState } from './environment-place.entity.js';
import type { PlaceFacts } from './places.events.js';

/** What a transition returns of the places that it changed. */
export interface PlaceRow {
  id: string;
  company_id: string;
  environment_id: string;
  lease_id: string;
  driver: string;
  host: string | null;
  state: PlaceState;
}

/** The columns of `PlaceRow`, for a `returning` clause on `environment_places p`. */
export const PLACE_COLUMNS = 'p.id, p.company_id, p.environment_id, p.lease_id, p.driver, p.host, p.state';

/** What may be done from now on: the columns have milliseconds, and what they would round up would not be due yet. */
export const NOW = `date_trunc('milliseconds', clock_timestamp())`;

export function placeFacts(row: PlaceRow, more?: Record<string, unknown>): PlaceFacts {
  return {
    id: row.id,
    companyId: row.company_id,
    environmentId: row.environment_id,
    leaseId: row.lease_id,
    driver: row.driver,
    host: row.host,
    state: row.state,
    more,
  };
}
