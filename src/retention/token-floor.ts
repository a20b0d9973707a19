import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';

/** The highest token that was given out tells a restored database from this one: it outlives its lease. */
@Injectable()
export class TokenFloor {
  constructor(private readonly em: EntityManager) {}

  /** @param token the highest one of leases that are gone in this transaction, or null where there was none. */
  async keep(token: string | null): Promise<void> {
    if (token === null) return;
    await this.em.execute('update instance set token_floor = ? where token_floor < ?', [token, token]);
  }
}
