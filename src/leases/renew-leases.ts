import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';

/** A lease as its holder names it. */
export interface HeldLease {
  readonly id: string;
  readonly fencingToken: number;
}

/**
 * Extends leases. The only writer of `expires_at` after acquisition, which no index may know of: so a renewal changes a
 * row on its page and nothing else.
 */
@Injectable()
export class RenewLeases {
  constructor(private readonly em: EntityManager) {}

  /**
   * Renews the leases that are still active, unexpired and held under the given tokens, in one statement. None is
   * extended past its lifetime, or past when it is to end because it was revoked.
   * @param ttlSec from now, by the database's clock; each lease's own unless given.
   * @returns the ids of those that were not renewed: they are lost.
   */
  async renew(leases: readonly HeldLease[], ttlSec: number | null = null): Promise<Set<string>> {
    if (leases.length === 0) return new Set();
    const rows = await this.em.execute<{ id: string }[]>(
      `with asked as materialized (select * from unnest(?::uuid[], ?::bigint[]) as x(id, token) order by id),
       held as (
         -- One by one, whatever the planner takes for few; in order: an end of several of them takes them, too.
         select l.id from asked cross join lateral (
           select l.id from environment_leases l
           where l.id = asked.id and l.fencing_token = asked.token and l.status = 'active' for no key update) l),
       renewed as (
         update environment_leases l
         set last_used_at = clock_timestamp(), expires_at = greatest(l.expires_at, least(l.lifetime_ends_at, l.revoke_at,
           clock_timestamp() + make_interval(secs => coalesce(?::integer, l.ttl_sec))))
         where l.id = any(array(select id from held)) and l.status = 'active' and least(l.expires_at, l.revoke_at) > clock_timestamp()
         returning l.id)
       select id from asked except select id from renewed`,
      [`{${leases.map(({ id }) => id).join(',')}}`, `{${leases.map((lease) => lease.fencingToken).join(',')}}`, ttlSec],
    );
    return new Set(rows.map(({ id }) => id));
  }
}
