import { Injectable, type OnModuleInit } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { assertCompanyAccess } from '../../auth/access.js';
import { OwnedThings } from '../../auth/owned-things.js';
import { CompaniesService } from '../../companies/companies.service.js';
import { EntityRows, type Condition, type RowOf } from '../../database/entity-rows.js';
import type { Page, PageRequest } from '../../database/page.js';
import { inTransaction } from '../../database/transaction.js';
import { NotFoundError } from '../../errors/domain-error.js';
import type { DomainEvent } from '../../events/domain-event.js';
import { DomainEvents } from '../../events/domain-events.js';
import { CleanUpPlaces } from './clean-up-places.js';
import { EnvironmentPlace, type PlaceState } from './environment-place.entity.js';
import { PlaceNotHostBoundError, PlaceStateError } from './place-errors.js';
import { NOW, placeFacts, PLACE_COLUMNS, type PlaceRow } from './place-row.js';
import { PlaceChanged, PlaceCleaning } from './places.events.js';

/** Which places a list shows. */
export interface PlaceFilter extends PageRequest {
  readonly state?: PlaceState;
  readonly environmentId?: string;
  readonly host?: string;
  /** Only those that are parked, or only those that are not. */
  readonly parked?: boolean;
}

/** What an operator does to a place, if it is in a state for it. */
interface Act {
  readonly of: readonly PlaceState[];
  /** Said to whoever tries it in another state. */
  readonly wanted: string;
  /** Assignments of an `update`, and their parameters. */
  readonly set: string;
  readonly parameters?: readonly unknown[];
  readonly event: (row: PlaceRow & { keep_until: string | null }) => DomainEvent;
}

const PLACES = new EntityRows(EnvironmentPlace);
const KEPT: readonly PlaceState[] = ['warm', 'retained'];

/** What operators ask of places, one at a time. */
@Injectable()
export class EnvironmentPlacesService implements OnModuleInit {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly companies: CompaniesService,
    private readonly cleanUps: CleanUpPlaces,
    private readonly things: OwnedThings,
  ) {}

  onModuleInit(): void {
    this.things.register('environment-places', (id) => this.require(id));
  }

  /** A company's places, newest first. */
  async ofCompany(
    companyId: string,
    { state, environmentId, host, parked, ...page }: PlaceFilter,
  ): Promise<Page<RowOf<EnvironmentPlace>>> {
    await this.companies.assertExists(companyId);
    const conditions: Condition[] = [
      state && [`state = '${state}'`],
      environmentId && ['environment_id = ?', environmentId],
      host && ['host = ?', host],
      parked !== undefined && [parked ? 'parked_at is not null' : 'parked_at is null'],
    ];
    return PLACES.pageOfCompany(this.em, companyId, conditions, page);
  }

  /** @throws NotFoundError */
  async require(placeId: string): Promise<EnvironmentPlace> {
    const place = await this.em.findOne(EnvironmentPlace, placeId, { refresh: true });
    if (!place) throw new NotFoundError('Place');
    assertCompanyAccess(place.companyId, 'Place');
    return place;
  }

  /**
   * Keeps a place that is kept for this long from now on, in seconds.
   * @throws NotFoundError, PlaceStateError
   */
  extend(placeId: string, keepSec: number): Promise<EnvironmentPlace> {
    return this.act(placeId, {
      of: KEPT,
      wanted: 'Only a warm or retained place can be kept for longer',
      set: 'keep_until = clock_timestamp() + make_interval(secs => ?)',
      parameters: [keepSec],
      event: (row) => {
        const keepUntil = row.keep_until && new Date(row.keep_until).toISOString();
        return new PlaceChanged(placeFacts(row, { change: 'extended', keepUntil }));
      },
    });
  }

  /**
   * Has a place that is kept taken down now.
   * @throws NotFoundError, PlaceStateError
   */
  release(placeId: string): Promise<EnvironmentPlace> {
    return this.act(placeId, {
      of: KEPT,
      wanted: 'Only a warm or retained place can be released',
      set: `state = 'cleaning', keep_until = null, next_attempt_at = ${NOW}`,
      event: (row) => new PlaceCleaning(placeFacts(row, { reason: 'released_by_operator' })),
    });
  }

  /**
   * Has taking a place down tried again now, as if it had not been tried.
   * @throws NotFoundError, PlaceStateError
   */
  retryCleanUp(placeId: string): Promise<EnvironmentPlace> {
    return this.act(placeId, {
      of: ['cleaning'],
      wanted: 'Only the clean-up of a place that is to be taken down can be tried again',
      set: `parked_at = null, attempts = 0, next_attempt_at = ${NOW}`,
      event: (row) => new PlaceChanged(placeFacts(row, { change: 'clean_up_retried' })),
    });
  }

  /**
   * Takes the operator's word for it that a place is gone with its host. Nobody takes it down any more.
   * @throws NotFoundError, PlaceNotHostBoundError, PlaceStateError
   */
  forget(placeId: string, reason: string): Promise<EnvironmentPlace> {
    return inTransaction(this.em, async () => {
      const place = await this.require(placeId);
      if (!place.host) throw new PlaceNotHostBoundError();
      if ((await this.cleanUps.forget(place.host, reason, 1, placeId)) === 0) {
        throw new PlaceStateError('Only a place that no lease uses, and that is not gone, can be forgotten', place);
      }
      return this.require(placeId);
    });
  }

  private act(placeId: string, { of, wanted, set, parameters = [], event }: Act): Promise<EnvironmentPlace> {
    return inTransaction(this.em, async () => {
      await this.require(placeId);
      const rows = await this.em.execute<(PlaceRow & { keep_until: string | null })[]>(
        `update environment_places p set ${set}, updated_at = now() where p.id = ? and p.state = any(?::text[])
         returning ${PLACE_COLUMNS}, p.keep_until`,
        [...parameters, placeId, `{${of.join(',')}}`],
      );
      const place = await this.require(placeId);
      if (rows.length === 0) throw new PlaceStateError(wanted, place);
      await this.events.record(rows.map(event));
      return place;
    });
  }
}
