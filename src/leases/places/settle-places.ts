import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { inTransaction } from '../../database/transaction.js';
import { DomainEvents } from '../../events/domain-events.js';
import type { HeldLease } from '../renew-leases.js';
import type { PlaceState } from './environment-place.entity.js';
import { NOW, placeFacts, PLACE_COLUMNS, type PlaceRow } from './place-row.js';
import { PlaceReady } from './places.events.js';

/**
 * Notes that a driver has returned from making a place ready. Only then, or once it has had its time, can be concluded
 * that a place is gone: until then it may be made again behind the back of whoever took it down.
 */
@Injectable()
export class SettlePlaces {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
  ) {}

  /**
   * The driver has made a new place: its lease can use it. May be repeated when the answer was lost.
   * @returns false when the lease is not held any more.
   */
  ready(placeId: string, lease: HeldLease, providerLeaseId: string | null): Promise<boolean> {
    return inTransaction(this.em, async () => {
      const rows = await this.em.execute<PlaceRow[]>(
        `with held as (
           update environment_leases l set provider_lease_id = ?, updated_at = now()
           where l.id = ? and l.fencing_token = ? and l.status = 'active' and l.expires_at > clock_timestamp()
           returning l.id)
         update environment_places p
         set state = 'in_use', provider_lease_id = ?, realise_deadline_at = ${NOW}, updated_at = now()
         from held where p.id = ? and p.lease_id = held.id and p.state = 'realising'
         returning ${PLACE_COLUMNS}`,
        [providerLeaseId, lease.id, lease.fencingToken, providerLeaseId, placeId],
      );
      await this.events.record(rows.map((row) => new PlaceReady(placeFacts(row))));
      return rows.length === 1 || (await this.stateOf(placeId, lease.id)) === 'in_use';
    });
  }

  /**
   * The driver has returned, whether or not it made the place. What is to be taken down can be now.
   * @returns how the place stands under this lease; null once it is another's.
   */
  async settled(placeId: string, leaseId: string): Promise<PlaceState | null> {
    const [row] = await this.em.execute<{ state: PlaceState }[]>(
      `update environment_places p set realise_deadline_at = least(p.realise_deadline_at, ${NOW}),
         next_attempt_at = case when p.parked_at is null and p.next_attempt_at is not null then ${NOW}
           else p.next_attempt_at end
       where p.id = ? and p.lease_id = ? returning p.state`,
      [placeId, leaseId],
    );
    return row?.state ?? null;
  }

  private async stateOf(placeId: string, leaseId: string): Promise<PlaceState | null> {
    const [row] = await this.em.execute<{ state: PlaceState }[]>(
      `select state from environment_places where id = ? and lease_id = ?`,
      [placeId, leaseId],
    );
    return row?.state ?? null;
  }
}
