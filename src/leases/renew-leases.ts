import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';

/** A lease as its holder names it. */
export interface HeldLease {
  readonly id: string;
  readonly fencingToken: number;
}

/** Extends leases. The only writer of `expires_at` after acquisition. */
@Injectable()
export class RenewLeases {
  constructor(private readonly em: EntityManager) {}

  /**
   * Renews the leases that are still active, unexpired and held under the given tokens, in one statement. None is
   * extended past its lifetime, or past when it is to end because it was revoked.
   * @param ttlSec from now, by the database's clock; each lease's own unless given.
   * @returns the new expiry of each that was renewed; what is missing is lost.
   */
  async renew(leases: readonly HeldLease[], ttlSec: number | null = null): Promise<Map<string, Date>> {
    if (leases.length === 0) return new Map();
    const rows = await this.em.execute<{ id: string; expires_at: string }[]>(
      `with held as (
         -- In order: an end of several of them takes them, too.
         select l.id from jsonb_to_recordset(?::jsonb) as x(id uuid, "fencingToken" bigint)
         join environment_leases l on l.id = x.id and l.fencing_token = x."fencingToken" and l.status = 'active'
         order by l.id for no key update of l)
       update environment_leases l
       set last_used_at = clock_timestamp(), expires_at = greatest(l.expires_at, least(l.lifetime_ends_at, l.revoke_at,
         clock_timestamp() + make_interval(secs => coalesce(?::integer, l.ttl_sec))))
       from held where l.id = held.id and l.status = 'active' and least(l.expires_at, l.revoke_at) > clock_timestamp()
       returning l.id, l.expires_at`,
      [JSON.stringify(leases.map(({ id, fencingToken }) => ({ id, fencingToken }))), ttlSec],
    );
    return new Map(rows.map(({ id, expires_at }) => [id, new Date(expires_at)]));
  }
}
