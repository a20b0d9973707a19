import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';

/**
 * Notes with reservations and further leases of runs when they are to end. The only writer of `revoke_at`; the reaper ends
 * them then. A run's first lease ends with its run alone.
 */
@Injectable()
export class RevokeLeases {
  constructor(private readonly em: EntityManager) {}

  /**
   * Wishes that those of the leases end that are active and not a run's first, in the caller's transaction. Of several
   * wishes the one that acts first stands: none is ever put off.
   * @param graceSec how long they may still last, in seconds.
   * @returns the ids of the leases for which this wish stands.
   */
  async revoke(leaseIds: string[], reason: string, graceSec: number): Promise<Set<string>> {
    if (leaseIds.length === 0) return new Set();
    const rows = await this.em.execute<{ id: string }[]>(
      `with held as materialized (
         select id from environment_leases where id = any(?::uuid[]) and run_lease_id is distinct from id
         order by id for no key update),
       wish as materialized (
         -- What the column would round up would not have taken effect yet.
         select date_trunc('milliseconds', clock_timestamp()) + make_interval(secs => ?) as at)
       update environment_leases l set revoke_at = wish.at, revoke_reason = ?, updated_at = now()
       from held, wish
       where l.id = held.id and l.status = 'active' and (l.revoke_at is null or l.revoke_at > wish.at)
       returning l.id`,
      [`{${leaseIds.join(',')}}`, graceSec, reason],
    );
    return new Set(rows.map(({ id }) => id));
  }
}
